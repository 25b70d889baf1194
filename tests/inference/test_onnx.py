"""Graphs of ONNX give what PyTorch gives, for batches and lengths that they were not traced with."""

import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from soundnet_kd.errors import SettingsError
from soundnet_kd.inference.onnx import to_onnx
from soundnet_kd.models import SoundNet8
from soundnet_kd.models.layers import FirstConv1d

SOUND = {0: ("batch", 1), 2: ("samples", 300)}


class Layers(nn.Module):
    """A student's first pooled layer, and its logits."""

    def __init__(self, student: SoundNet8) -> None:
        super().__init__()
        self.student = student

    def forward(self, waveform: Tensor) -> dict[str, Tensor]:
        answers: dict[str, Tensor] = self.student(waveform, ("pool1", "conv8"))
        return answers


class Inputs(nn.Module):
    """Takes only what it was traced with."""

    def forward(self, waveform: Tensor) -> Tensor:
        return waveform if waveform.shape[-1] == 500 else -waveform


def run(model: onnx.ModelProto, waveform: Tensor) -> list[Tensor]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return [torch.from_numpy(np.asarray(answer)) for answer in session.run(None, {"waveform": waveform.numpy()})]


def shape(value: onnx.ValueInfoProto) -> list[str | int]:
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]


@torch.no_grad()
def test_a_student_of_any_length_and_batch(small_soundnet8: None) -> None:
    torch.manual_seed(0)
    module = Layers(SoundNet8({"objects": 7, "scenes": 3}).eval())
    free = {0: ("batch", 1), 2: ("samples", 220_000)}
    model = to_onnx(module, torch.zeros(2, 1, 441_000), ("pool1", "conv8"), free, {"licence": "MIT"})
    assert shape(model.graph.input[0]) == ["batch", 1, "samples"]
    assert [shape(value) for value in model.graph.output] == [
        ["batch", 2, "pool1_steps"],
        ["batch", 10, "conv8_steps"],
    ]
    assert {entry.key: entry.value for entry in model.metadata_props} == {"licence": "MIT"}
    # One step of conv8, several, and lengths that no stride divides.
    for size in ((1, 1, 220_001), (3, 1, 441_000), (1, 1, 700_007)):
        waveform = torch.randn(size) * 100
        for answer, expected in zip(run(model, waveform), module(waveform).values(), strict=True):
            torch.testing.assert_close(answer, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize(
    "module",
    [
        nn.MaxPool1d(5),
        nn.MaxPool1d(3, 1, 1),
        nn.MaxPool1d(4, 3, dilation=2),
        FirstConv1d(4, 9, 3, 2),
        nn.Sequential(FirstConv1d(4, 8, 2, 3), nn.BatchNorm1d(4), nn.ReLU(), nn.MaxPool1d(8), nn.AdaptiveAvgPool1d(1)),
    ],
    ids=lambda module: type(module).__name__,
)
@torch.no_grad()
def test_single_operations(module: nn.Module) -> None:
    torch.manual_seed(0)
    model = to_onnx(module.eval(), torch.zeros(2, 1, 500), ("answer",), SOUND)
    for size in ((1, 1, 300), (2, 1, 301), (5, 1, 1_013)):
        waveform = torch.randn(size)
        (answer,) = run(model, waveform)
        torch.testing.assert_close(answer, module(waveform), rtol=1e-5, atol=1e-6)


class Means(nn.Module):
    """Averages over time."""

    def forward(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        return waveform.mean(dim=2), nn.functional.adaptive_avg_pool1d(waveform, 1)


def test_averages_of_many_steps_are_exact() -> None:
    model = to_onnx(Means(), torch.zeros(2, 1, 500), ("mean", "average"), SOUND)
    # ONNX Runtime, asked for the average as such, is further off than this.
    for answer in run(model, torch.full((1, 1, 1_000_000), 0.1)):
        assert abs(float(answer) - 0.1) < 1e-7


def test_only_the_batch_is_free_unless_told_otherwise() -> None:
    model = to_onnx(nn.Conv1d(1, 2, 3), torch.zeros(2, 1, 30), ("answer",))
    assert shape(model.graph.input[0]) == ["batch", 1, 30]
    assert shape(model.graph.output[0]) == ["batch", 2, 28]


def test_what_pytorch_cannot_trace_is_named() -> None:
    with pytest.raises(SettingsError, match=r"Inputs cannot be exported by PyTorch .*samples"):
        to_onnx(Inputs(), torch.zeros(2, 1, 500), ("answer",), SOUND)


@pytest.mark.parametrize("library", ["onnx", "onnxscript"])
def test_a_missing_library_names_its_extra(monkeypatch: pytest.MonkeyPatch, library: str) -> None:
    monkeypatch.setitem(sys.modules, library, None)  # As Python marks what is not there.
    with pytest.raises(SettingsError, match=rf'{library} is not installed.*pip install "soundnet-kd\[onnxruntime\]"'):
        to_onnx(nn.ReLU(), torch.zeros(2, 1, 5), ("answer",))
