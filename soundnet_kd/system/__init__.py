"""What we ask of the machine: its failures in words with the cure, cache folders, launchers, processes of our own."""
