#!/usr/bin/env bash
# safetensors 0.8.0 writes a file's metadata in another order each time.
#
# The tensors and their order in the header are the same, but `__metadata__` comes from a hash map with a random seed. So
# the same weights with the same metadata are other bytes after each save, within one process too, and a hash of the file
# says nothing of its content. A file of no or of one metadata entry is repeatable.
#
# Seen on Linux x86-64, Python 3.11, on 2026-11-29.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "safetensors==0.8.0" "numpy==2.3.5"
"$folder/venv/bin/python" - > "$folder/seen" <<'PYTHON'
import hashlib

import numpy as np
from safetensors.numpy import save

tensors = {name: np.arange(4.0) for name in "abcdefgh"}
for entries in (0, 1, 8):
    metadata = {f"key {number}": "value" for number in range(entries)}
    hashes = {hashlib.sha256(save(tensors, metadata)).hexdigest() for _ in range(50)}
    print(f"{entries} metadata entries, saved 50 times: {'one hash' if len(hashes) == 1 else 'several hashes'}")
PYTHON
cat "$folder/seen"
diff "$folder/seen" - <<'EXPECTED'
0 metadata entries, saved 50 times: one hash
1 metadata entries, saved 50 times: one hash
8 metadata entries, saved 50 times: several hashes
EXPECTED
