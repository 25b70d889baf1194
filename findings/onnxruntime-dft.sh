#!/usr/bin/env bash
# onnxruntime 1.32.0: the Fourier transform (DFT) of lengths that are no power of two is wrong by up to a hundredth.
#
# ONNX Runtime's CPU kernel of DFT, and of STFT which uses it, is as exact as float32 for powers of two. For other lengths
# (Bluestein's algorithm) errors grow with the length: 1e-2 of the greatest value for 64 000 samples.
#
# Seen on Linux x86-64, Python 3.11, on 2026-11-29.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "onnx==1.23.2" "onnxruntime==1.32.0" "numpy==2.4.6"
cd "$folder"
"$folder/venv/bin/python" - > seen <<'PYTHON'
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

node = helper.make_node("DFT", ["wave"], ["spectrum"], axis=1)
graph = helper.make_graph(
    [node],
    "dft",
    [helper.make_tensor_value_info("wave", TensorProto.FLOAT, [1, "samples", 1])],
    [helper.make_tensor_value_info("spectrum", TensorProto.FLOAT, [1, "samples", 2])],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
onnx.checker.check_model(model)
session = onnxruntime.InferenceSession(model.SerializeToString())
for samples in (16_384, 16_000, 65_536, 64_000):
    wave = np.random.default_rng(0).normal(size=(1, samples, 1)).astype(np.float32)
    (found,) = session.run(None, {"wave": wave})
    expected = np.fft.fft(wave[0, :, 0].astype(np.float64))
    error = np.abs(found[0, :, 0] + 1j * found[0, :, 1] - expected).max() / np.abs(expected).max()
    print(f"{samples} samples: {'exact' if error < 1e-5 else 'wrong by more than a thousandth' if error > 1e-3 else error}")
PYTHON
cat seen
diff seen - <<'EXPECTED'
16384 samples: exact
16000 samples: wrong by more than a thousandth
65536 samples: exact
64000 samples: wrong by more than a thousandth
EXPECTED
