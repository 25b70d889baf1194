"""Figures of the activations of every layer of a network for one sound."""
