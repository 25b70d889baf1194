"""Figures of what every layer of a network makes of one sound."""
