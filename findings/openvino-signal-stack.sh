#!/usr/bin/env bash
# openvino 2026.4.1: a thread is left with a stack for signal handlers that is no memory of the process any more.
#
# When a Core first compiles, its CPU plugin gives the thread that does so an alternate signal stack of its own
# (sigaltstack), and unmaps it with the plugin. The stack before it is put back only if that same thread unloads the plugin
# and its stack is still the one in use; two Cores that go in the order in which they came leave the thread with the first
# one's, which is gone. CPython has handlers run on that stack (SA_ONSTACK), be they for Ctrl-C or for the ends of PyTorch's
# data workers, and faulthandler's too: processes that went on like this were seen to end with SIGSEGV minutes later,
# without a word of faulthandler's. A thread that compiles and ends keeps that from the others.
#
# Seen on Linux x86-64, Python 3.11, on 2026-11-30. The script only asks where the stack is; no signal is handled on it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "openvino==2026.4.1" "numpy==2.4.0"
cd "$folder"
cat > program.py <<'PYTHON'
import ctypes
import faulthandler
import gc
from pathlib import Path


class Stack(ctypes.Structure):
    _fields_ = [("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]


def signal_stack():
    """Tell whose the alternate signal stack of this thread is, and whether it is memory of this process."""
    stack = Stack()
    assert ctypes.CDLL(None).sigaltstack(None, ctypes.byref(stack)) == 0
    ranges = (line.split()[0].split("-") for line in Path("/proc/self/maps").read_text().splitlines())
    mapped = any(int(start, 16) <= stack.address < int(end, 16) for start, end in ranges)
    name = names.setdefault(stack.address, f"stack {len(names)}")
    return f"{name}, {'mapped' if mapped else 'NOT mapped'}"


names = {}
faulthandler.enable()
print("faulthandler:", signal_stack())

import numpy as np  # noqa: E402
import openvino  # noqa: E402
from openvino import opset13  # noqa: E402


def compiled():
    given = opset13.parameter([1, 4], np.float32)
    return openvino.Core().compile_model(openvino.Model([opset13.relu(given)], [given]), "CPU")


first = compiled()
print("first:", signal_stack())
second = compiled()
print("second:", signal_stack())
del first
gc.collect()
print("first gone:", signal_stack())
del second
gc.collect()
print("both gone:", signal_stack())
PYTHON
# So that it is not reported that OpenVINO is used.
export CI=true HOME=$folder
"$folder/venv/bin/python" program.py 2> errors | tee seen
diff seen - <<'EXPECTED'
faulthandler: stack 0, mapped
first: stack 1, mapped
second: stack 2, mapped
first gone: stack 2, mapped
both gone: stack 1, NOT mapped
EXPECTED
