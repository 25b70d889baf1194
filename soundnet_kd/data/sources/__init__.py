"""Where sounds with labels come from: folders, tables, lists of files; `detect` finds what a path is taken for."""
