"""The command line: a command's flags are the parameters of its function, and its help is that function's docstring."""

from soundnet_kd.cli.program import main

__all__ = ["main"]
