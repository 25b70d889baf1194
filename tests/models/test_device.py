"""Networks that are built for weights that are there already."""

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torchvision import models

from soundnet_kd.models import FinetunedNetwork, Preprocessing, SoundNet5, SoundNet8
from soundnet_kd.models.classifiers import CLASSIFIERS
from soundnet_kd.models.device import Undrawn


def _finetuned() -> nn.Module:
    return FinetunedNetwork(SoundNet8({"objects": 2}, Preprocessing()), "conv4", ["cat", "dog"])


@pytest.mark.parametrize(
    "build",
    [
        SoundNet5,
        SoundNet8,
        _finetuned,
        *(lambda kind=kind: kind(["cat", "dog"]) for kind in CLASSIFIERS.values()),
        *(
            lambda build=build: build(num_classes=2)
            for build in (models.mobilenet_v2, models.densenet121, models.squeezenet1_0, models.vgg11)
        ),
    ],
)
def test_nothing_is_drawn_and_the_names_and_shapes_are_the_same(build: Callable[[], nn.Module]) -> None:
    drawn = {name: value.shape for name, value in build().state_dict().items()}
    torch.manual_seed(0)
    before = torch.get_rng_state()
    with Undrawn():
        undrawn = build()
    assert torch.equal(torch.get_rng_state(), before)
    assert {name: value.shape for name, value in undrawn.state_dict().items()} == drawn
    build()
    assert not torch.equal(torch.get_rng_state(), before)
