"""Where sounds with labels come from: folders, tables, lists of files. `detect` chooses the reader of a path."""
