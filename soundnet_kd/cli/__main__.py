"""`python -m soundnet_kd.cli` is the command line too."""

import sys

from soundnet_kd.cli.program import main

if __name__ == "__main__":
    sys.exit(main())
