#!/usr/bin/env bash
# h5py 3.16.0: locking="best-effort" opens nothing on most disks without locks.
#
# HDF5's "best effort" (h5py's locking="best-effort", HDF5_USE_FILE_LOCKING=BEST_EFFORT) is said to go on where a disk
# has no locks. It does so for one way to say it only, ENOSYS (38). Network disks say ENOLCK (37), EOPNOTSUPP (95) or
# Linux's ENOTSUPP (524): then a file cannot be opened, not even to be read. locking=False opens it in all four cases.
#
# Seen on Linux x86-64, Python 3.11, on 2026-11-29. The disk is simulated by a C library whose flock fails; needs gcc.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "h5py==3.16.0"
cd "$folder"
"$folder/venv/bin/python" -c 'import h5py; h5py.File("good.h5", "w").close()'
for number in 37 95 524 38; do
    printf '#include <errno.h>\nint flock(int f, int o) { errno = %d; return -1; }\n' "$number" > shim.c
    gcc -shared -fPIC -o shim.so shim.c
    LD_PRELOAD="$folder/shim.so" "$folder/venv/bin/python" - "$number" <<'PYTHON'
import sys

import h5py

for locking in ("best-effort", False):
    try:
        h5py.File("good.h5", "r", locking=locking).close()
        print(f"errno {sys.argv[1]}, locking={locking!r}: opened")
    except OSError as error:
        print(f"errno {sys.argv[1]}, locking={locking!r}: OSError {error.errno}")
PYTHON
done > seen
cat seen
diff seen - <<'EXPECTED'
errno 37, locking='best-effort': OSError 37
errno 37, locking=False: opened
errno 95, locking='best-effort': OSError 95
errno 95, locking=False: opened
errno 524, locking='best-effort': OSError 524
errno 524, locking=False: opened
errno 38, locking='best-effort': opened
errno 38, locking=False: opened
EXPECTED
