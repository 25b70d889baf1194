"""`python -m soundnet_kd.cli` is the command line too."""

import sys

from soundnet_kd.cli.program import main

sys.exit(main())
