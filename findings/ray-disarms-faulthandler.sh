#!/usr/bin/env bash
# ray 2.60.0: after `ray.init` and `ray.shutdown` Python's faulthandler is disarmed, though it says that it is enabled.
#
# faulthandler tells where a process was that dies of a signal. Ray puts handlers of its own in the place of those, and
# takes them away with itself, without putting the earlier ones back: for SIGSEGV, SIGABRT, SIGFPE and SIGILL the process
# has none any more, while `faulthandler.is_enabled()` is True. A test process that crashes long after its last test with
# Ray ends without a word. `faulthandler.disable()` and `enable()` arm it again.
#
# Seen on Linux x86-64, Python 3.11, on 2026-11-30.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "ray==2.60.0"
cd "$folder"
cat > program.py <<'PYTHON'
import faulthandler
import signal
from pathlib import Path


def caught():
    """Those of faulthandler's signals for which this process has a handler, as the kernel sees it."""
    (mask,) = (line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if "SigCgt" in line)
    names = ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL")
    return [name for name in names if int(mask, 16) >> (getattr(signal, name) - 1) & 1]


faulthandler.enable()
print("enabled:", faulthandler.is_enabled(), *caught())

import ray  # noqa: E402

ray.init(num_cpus=1, object_store_memory=80_000_000, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
ray.shutdown()
print("after Ray:", faulthandler.is_enabled(), *caught())
faulthandler.disable()
faulthandler.enable()
print("again:", faulthandler.is_enabled(), *caught())
PYTHON
export RAY_USAGE_STATS_ENABLED=0 RAY_AUTH_MODE=token RAY_AUTH_TOKEN=a-secret-of-this-script-for-these-few-seconds
"$folder/venv/bin/python" program.py 2> errors | tee seen
diff seen - <<'EXPECTED'
enabled: True SIGSEGV SIGABRT SIGBUS SIGFPE SIGILL
after Ray: True SIGBUS
again: True SIGSEGV SIGABRT SIGBUS SIGFPE SIGILL
EXPECTED
