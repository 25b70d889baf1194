"""Engines give what PyTorch gives, say what they cannot, and leave it to PyTorch then."""

import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
import torch
from torch import Tensor, nn

from soundnet_kd.errors import SettingsError
from soundnet_kd.inference.backends import Backend, choose_backend, compile_module
from soundnet_kd.system import extras

CPU = torch.device("cpu")


class _Layers(nn.Module):
    """Two outputs, one with steps."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 4, 5, 2, 2)
        self.norm = nn.BatchNorm1d(4)

    def forward(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        steps = nn.functional.max_pool1d(nn.functional.relu(self.norm(self.conv(waveform))), 4)
        return steps, steps.mean(dim=2)


class _LengthDecides(nn.Module):
    """A tracer takes the branch of its example for every other input."""

    def forward(self, waveform: Tensor) -> Tensor:
        return waveform * 2 if waveform.shape[-1] > 100 else waveform


@pytest.mark.parametrize("backend", get_args(Backend))
def test_any_batch_and_length_as_pytorch(backend: Backend) -> None:
    torch.manual_seed(0)
    module = _Layers().eval()
    free = {0: ("batch", 1), 2: ("samples", 16)}
    name, run = compile_module(module, torch.randn(2, 1, 100), backend, free=free)
    assert name == backend
    for batch, samples in ((1, 16), (2, 100), (5, 777)):
        waveform = torch.randn(batch, 1, samples)
        with torch.no_grad():
            wanted = module(waveform)
        for found, exact in zip(run(waveform), wanted, strict=True):
            torch.testing.assert_close(found, exact, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("backend", ["torch", "openvino"])
def test_bf16_is_within_a_hundredth_but_not_exact(backend: Backend) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64)).eval()
    rows = torch.randn(32, 64)
    _, exact = compile_module(module, rows, "torch")
    name, run = compile_module(module, rows, backend, "bf16")
    (wanted,), (found,) = exact(rows), run(rows)
    error = float((found - wanted).norm() / wanted.norm())
    assert name == backend
    assert found.dtype == torch.float32
    assert error < 1e-2
    # A CPU without these instructions computes in 32 bit.
    assert error > 1e-4 or backend == "openvino"


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_what_an_engine_answers_otherwise_is_left_to_pytorch(
    backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    free = {0: ("batch", 1), 2: ("samples", 1)}
    with caplog.at_level(logging.WARNING):
        name, run = compile_module(_LengthDecides(), torch.ones(2, 1, 100), backend, free=free)
    assert name == "torch"
    assert len(caplog.records) == 1
    assert f"{backend} cannot run _LengthDecides (" in caplog.text
    assert run(torch.ones(1, 1, 101))[0].mean() == 2
    assert run(torch.ones(1, 1, 100))[0].mean() == 1


def test_auto_is_the_first_that_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_backend("auto", CPU) == "openvino"
    assert choose_backend("auto", torch.device("cuda")) == "torch"
    monkeypatch.setattr("soundnet_kd.inference.backends.find_spec", lambda name: name.startswith("onnx"))
    assert choose_backend("auto", CPU) == "onnxruntime"
    assert choose_backend("auto", CPU, "bf16") == "torch"


def test_refusals_name_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="'tensorrt' is none of auto, torch, openvino, onnxruntime"):
        choose_backend("tensorrt", CPU)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="give --device cpu"):
        choose_backend("openvino", torch.device("cuda"))
    with pytest.raises(SettingsError, match="give --backend openvino or torch for bf16"):
        choose_backend("onnxruntime", CPU, "bf16")

    def missing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(extras, "import_module", missing)
    with pytest.raises(SettingsError, match=r'pip install "soundnet-kd\[openvino\]"'):
        choose_backend("openvino", CPU)


REPORTING = """
import torch
from torch import nn
from soundnet_kd.inference.backends import compile_module
name, _ = compile_module(nn.Linear(3, 2).eval(), torch.ones(2, 3), "openvino")
from openvino_telemetry import Telemetry
print(name, Telemetry().consent)
"""


def test_openvino_does_not_report_that_it_is_used(tmp_path: Path) -> None:
    """It would have made itself a name in the home directory."""
    environment = {name: value for name, value in os.environ.items() if name != "CI"} | {"HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", REPORTING], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["openvino", "False"]
    assert not (tmp_path / "intel").exists()


IN_ANY_ORDER = """
import gc, os, signal, sys
from threading import Thread
import torch
from torch import nn
from soundnet_kd.inference.backends import compile_module

networks = {}

def begin(name):
    networks[name] = compile_module(nn.Linear(3, 2).eval(), torch.ones(2, 3), "openvino")
    assert networks[name][0] == "openvino"

def end(name):
    del networks[name]
    gc.collect()

def end_in_another_thread(name):
    thread = Thread(target=end, args=[name])
    thread.start()
    thread.join()

signal.signal(signal.SIGUSR1, lambda *_: print("handled", flush=True))
exec(sys.argv[1])
os.kill(os.getpid(), signal.SIGUSR1)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
@pytest.mark.parametrize(
    "networks",
    ["begin('a'), begin('b'), end('a'), end('b')", "begin('a'), end_in_another_thread('a')"],
)
def test_signals_are_handled_whichever_networks_on_openvino_are_gone(networks: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-X", "faulthandler", "-c", IN_ANY_ORDER, networks],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr
