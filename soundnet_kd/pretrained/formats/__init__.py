"""Readers of other frameworks' weights files, which execute nothing of them; `detect` finds the one that fits."""
