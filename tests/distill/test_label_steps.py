"""What a student says at the steps of labels, against times worked out by hand."""

import pytest
import torch

from soundnet_kd.distill.label_steps import averaged, interpolated, parameters_behind
from soundnet_kd.models import SoundNet8

pytestmark = pytest.mark.usefixtures("small_soundnet8")


def test_logits_go_linearly_from_the_middle_of_one_step_to_the_next() -> None:
    """Steps of 5 s have their middles at 2.5, 7.5, 12.5 and 17.5 s; steps of 2.5 s at 1.25, 3.75, 6.25 s and so on."""
    logits = torch.tensor([[[0.0, 4.0, 8.0, 4.0]]])
    assert interpolated(logits, 8)[0, 0].tolist() == [0, 1, 3, 5, 7, 7, 5, 4]
    assert interpolated(logits, 4) is logits
    assert interpolated(torch.tensor([[[2.0]]]), 4)[0, 0].tolist() == [2, 2, 2, 2]


def test_a_layer_is_averaged_over_each_step() -> None:
    layer = torch.arange(6.0).reshape(1, 1, 6)
    assert averaged(layer, 3)[0, 0].tolist() == [0.5, 2.5, 4.5]
    # Where steps do not fit, those in part count whole: 0 to 1, 1 to 4 and 4 to 5 of 6 in 4 would not.
    assert averaged(layer, 4)[0, 0].tolist() == [0.5, 1.5, 3.5, 4.5]
    assert averaged(layer, 12)[0, 0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]


def test_a_spectrum_is_averaged_over_its_rows_too_and_in_32_bit() -> None:
    layer = torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]]).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = averaged(layer, 1)
    assert found.dtype == torch.float32
    assert found.tolist() == [[[3.0]]]


@pytest.mark.parametrize(("layer", "last"), [("pool5", 5), ("conv7", 7)])
def test_what_a_layer_does_not_depend_on(layer: str, last: int) -> None:
    student = SoundNet8({"objects": 3})
    averages = student.get_buffer("batchnorm1.running_mean").clone()
    behind = {name for name, _ in student.named_parameters() if int(name.split(".")[0][-1]) > last}
    assert set(parameters_behind(student, layer)) == behind
    assert student.training
    assert torch.equal(student.get_buffer("batchnorm1.running_mean"), averages)
