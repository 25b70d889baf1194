"""Data sets that we know, each in a file: their layout, their splits, the classes of ESC-50."""
