#!/usr/bin/env bash
# numba 0.68.1 changes how many threads PyTorch 2.14.1 computes with, for the rest of the process.
#
# With numba's OpenMP threading layer (its first choice on Linux where TBB is not installed), the first use of numba's
# threads, even numba.set_num_threads(1), calls omp_set_num_threads with NUMBA_NUM_THREADS, by default the number of
# logical processors. PyTorch reads its own number of threads from the same OpenMP setting. So where OMP_NUM_THREADS
# asked PyTorch for one thread, a library that runs numba (a UMAP fit, for one) gives it as many as there are
# processors. Sums are then split in another way and their last bits differ: the same training gives other weights
# before and after. numba.get_num_threads() still says 1.
#
# Seen on Linux x86-64, Python 3.11, on 2026-11-29:
#   before numba: PyTorch 1 threads
#   after numba.set_num_threads(1): PyTorch 2 threads, numba 1
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "numba==0.68.1" "torch==2.14.1"
OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=2 NUMBA_THREADING_LAYER=omp "$folder/venv/bin/python" - > "$folder/seen" <<'PYTHON'
import torch

print(f"before numba: PyTorch {torch.get_num_threads()} threads")
import numba

numba.set_num_threads(1)
print(f"after numba.set_num_threads(1): PyTorch {torch.get_num_threads()} threads, numba {numba.get_num_threads()}")
PYTHON
cat "$folder/seen"
diff "$folder/seen" - <<'EXPECTED'
before numba: PyTorch 1 threads
after numba.set_num_threads(1): PyTorch 2 threads, numba 1
EXPECTED
