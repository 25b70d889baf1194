"""A web page that shows the results of a run and plays its sounds: its sections, its data, and the files it needs."""
