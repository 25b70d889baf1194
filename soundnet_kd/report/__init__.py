"""The page that shows what a run found, and plays its sounds: what it holds, and the files that it stands on."""
