"""Settings as people write them, in a file or on a command line, and what they become."""
