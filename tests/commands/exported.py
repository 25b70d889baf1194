"""Exported files run in processes that have one library and nothing of this package."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

Array = NDArray[np.float32]

ALONE: Mapping[str, str] = {
    "onnx": """
import onnxruntime
session = onnxruntime.InferenceSession(file)
described = dict(session.get_modelmeta().custom_metadata_map)
names = [output.name for output in session.get_outputs()]
def run(sounds): return session.run(None, {"waveform": sounds})
""",
    "openvino": """
import openvino
model = openvino.Core().read_model(file)
described = {}
compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
names = [output.get_any_name() for output in compiled.outputs]
for key in ("class_names", "sample_rate", "licence"):
    described[key] = str(model.get_rt_info(["soundnet_kd", key]).value)
def run(sounds): return [compiled(sounds)[name] for name in names]
""",
    "torch": """
import torch
extra = {"soundnet_kd.json": ""}
module = torch.export.load(file, extra_files=extra).module()
described = json.loads(extra["soundnet_kd.json"])
names = list(module(torch.zeros(1, 30_000)))
def run(sounds): return [answer.detach().numpy() for answer in module(torch.from_numpy(sounds)).values()]
""",
}
"""How a program that has only one library runs a file."""
SUFFIX = {"onnx": ".onnx", "openvino": ".xml", "torch": ".pt2"}


def sounds(sizes: list[tuple[int, int]]) -> list[Array]:
    rng = np.random.default_rng(1)
    return [rng.normal(0, 0.2, size).astype(np.float32) for size in sizes]


def run_alone(file: Path, kind: str, batches: list[Array], folder: Path) -> tuple[list[list[Array]], dict[str, str]]:
    """Run a file in a process that has imported nothing of this package, nor PyTorch if it is not PyTorch's."""
    np.savez(folder / "sounds.npz", *batches)
    forbidden = ["soundnet_kd"] + ["torch"] * (kind != "torch")
    program = f"""
import json, sys
import numpy as np
file, folder = sys.argv[1:]
{ALONE[kind]}
given = np.load(f"{{folder}}/sounds.npz")
answers = [run(given[name]) for name in given.files]
np.savez(f"{{folder}}/answers.npz", *[each for several in answers for each in several])
assert not set({forbidden}) & set(sys.modules)
print(json.dumps([names, described]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(file), str(folder)],
        cwd=folder,
        env={"PATH": "", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    names, described = json.loads(done.stdout.splitlines()[-1])
    flat = list(np.load(folder / "answers.npz").values())
    return [flat[start : start + len(names)] for start in range(0, len(flat), len(names))], described


def expect_near(found: Array, expected: torch.Tensor | Array) -> None:
    expected = np.asarray(expected)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * float(np.abs(expected).max()))
