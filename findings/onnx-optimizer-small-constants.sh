#!/usr/bin/env bash
# torch 2.14.1 with onnxscript 0.7.2: torch.onnx.export takes small constants for 0.
#
# Unless told optimize=False, torch.onnx.export has onnxscript simplify the graph. Its rule for `x + 0` counts every
# constant up to 1e-8 as 0, so that log(x + 1e-10) becomes log(x): of silence a log spectrogram is then -inf, not -23,
# and all that follows NaN.
#
# Seen on Linux x86-64, Python 3.11, on 2026-11-29.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "torch==2.14.1" "onnx==1.23.2" "onnxscript==0.7.2" "onnxruntime==1.32.0" numpy
cd "$folder"
"$folder/venv/bin/python" - 2>/dev/null > seen <<'PYTHON'
import numpy as np
import onnxruntime
import torch


class Logarithm(torch.nn.Module):
    def forward(self, power):
        return torch.log(power + 1e-10)


for optimize in (True, False):
    program = torch.onnx.export(
        Logarithm(), (torch.ones(1),), input_names=["power"], dynamo=True, optimize=optimize, verbose=False
    )
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
    (silence,) = session.run(None, {"power": np.zeros(1, dtype=np.float32)})
    print(f"optimize={optimize}: log(0 + 1e-10) is {silence[0]:.2f}")
PYTHON
cat seen
diff <(grep '^optimize=' seen) - <<'EXPECTED'
optimize=True: log(0 + 1e-10) is -inf
optimize=False: log(0 + 1e-10) is -23.03
EXPECTED
