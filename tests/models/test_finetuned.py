"""A new head on one layer or on several: what it hears, what stays as it is, and what a file keeps of it."""

from pathlib import Path

import numpy as np
import pytest
import torch

from soundnet_kd import SoundNet8
from soundnet_kd.errors import SettingsError
from soundnet_kd.features.extractor import stream_network
from soundnet_kd.inference.prepared import PreparedNetwork
from soundnet_kd.models import Preprocessing, read_network, write_network
from soundnet_kd.models.finetuned import FinetunedNetwork

CLASSES = ("a", "b", "c")
SAMPLES = 60_000


@pytest.fixture
def network() -> FinetunedNetwork:
    """A head of roots on two layers, whose batch norms have heard something."""
    torch.manual_seed(0)
    made = FinetunedNetwork(
        SoundNet8({"x": 2}, Preprocessing(least_samples=1)), "pool5+conv4", CLASSES, "conv4", "roots"
    )
    with torch.no_grad():
        for module in made.network.modules():
            if isinstance(module, torch.nn.Conv1d):
                module.weight.mul_(10)
        for _ in range(30):
            made.network.train()
            made(torch.randn(4, 1, SAMPLES))
    return made.eval()


def test_a_head_of_roots_answers_as_by_hand(network: FinetunedNetwork) -> None:
    sound = torch.randn(2, 1, SAMPLES)
    with torch.no_grad():
        answers = network(sound, ["conv4", "pool5", "answer"])
    roots = []
    for layer in ("conv4", "pool5"):
        steps = answers[layer].numpy().astype(np.float64)
        roots += [np.sqrt(steps.mean(axis=2) + 1e-4), np.sqrt(np.sqrt(steps.var(axis=2) + 1e-4))]
    state = {name: value.double().numpy() for name, value in network.state_dict().items()}
    scaled = (np.hstack(roots) - state["norm.running_mean"]) / np.sqrt(state["norm.running_var"] + 1e-5)
    wanted = (scaled * state["norm.weight"] + state["norm.bias"]) @ state["head.weight"].T + state["head.bias"]
    np.testing.assert_allclose(answers["answer"][:, :, 0].numpy(), wanted, rtol=1e-3, atol=1e-4)
    assert network.layers[-2:] == ("pool5", "answer")
    assert network.head.in_features == 2 * (128 + 256)


def test_half_of_what_the_head_hears_is_dropped_while_it_learns(network: FinetunedNetwork) -> None:
    heard: list[torch.Tensor] = []
    network.head.register_forward_pre_hook(lambda _, inputs: heard.append(inputs[0]))
    network.train()
    network(torch.randn(8, 1, SAMPLES))
    assert (heard[0] == 0).float().mean() == pytest.approx(0.5, abs=0.05)


def test_a_file_keeps_the_head(network: FinetunedNetwork, tmp_path: Path) -> None:
    write_network(network, tmp_path / "n.safetensors", {})
    again = read_network(tmp_path / "n.safetensors")
    sound = torch.randn(1, 1, SAMPLES)
    with torch.no_grad():
        assert torch.equal(again.logits(sound), network.logits(sound))
    assert again.fingerprint() == network.fingerprint()
    assert isinstance(again, FinetunedNetwork)
    assert again.head_layers == ("conv4", "pool5")


def test_a_sound_that_comes_in_segments_has_the_same_answer(network: FinetunedNetwork) -> None:
    sound = torch.randn(1, 1, SAMPLES)
    with torch.no_grad():
        *_, last = stream_network(PreparedNetwork(network, ["pool5", "answer"]), torch.split(sound, 7_000, dim=2))
        torch.testing.assert_close(last["answer"][:, :, 0], network.logits(sound), rtol=1e-4, atol=1e-4)


def test_it_takes_up_behind_the_last_layer_that_stays_as_it_is(network: FinetunedNetwork) -> None:
    sound = torch.randn(2, 1, SAMPLES)
    assert network.frozen_layer == "conv3"
    with torch.no_grad():
        steps = network(sound, ["conv3"])["conv3"]
        assert torch.equal(network.logits_from(steps), network.logits(sound))
    behind = FinetunedNetwork(SoundNet8({"x": 2}), "conv6", CLASSES, "conv6").eval()
    assert behind.frozen_layer == "pool5"
    with torch.no_grad():
        assert torch.equal(behind.logits_from(behind(sound, ["pool5"])["pool5"]), behind.logits(sound))
    both = FinetunedNetwork(SoundNet8({"x": 2}), "pool5+conv6", CLASSES, "conv6").eval()
    with torch.no_grad():
        assert torch.equal(both.logits_from(both(sound, ["pool5"])["pool5"]), both.logits(sound))
    assert FinetunedNetwork(SoundNet8({"x": 2}), "conv6", CLASSES).frozen_layer is None


def test_with_a_margin_a_piece_is_heard_as_in_the_middle_of_its_repetition(network: FinetunedNetwork) -> None:
    """32 768 samples are a whole number of steps of every layer, and repeated many times they have almost no ends."""
    sound = torch.randn(1, 1, 32_768)
    # A step of pool5 hears 32 steps of conv3 more on either side than its own; 16 of them are a step of it.
    assert network.margin_steps % 16 == 0
    with torch.no_grad():
        alone = network.logits(sound)
        endless = network.logits(sound.repeat(1, 1, 40))
        steps = network(sound.repeat(1, 1, 3), ["conv3"])["conv3"]
        ones = 32_768 // network.network.receptive_field("conv3").stride
        margin = network.margin_steps
        found = network.logits_from(steps[:, :, ones - margin : 2 * ones + margin], margin)
    assert (found - endless).abs().max() < 0.3 * (alone - endless).abs().max()


def test_statistics_can_be_kept_where_layers_learn() -> None:
    for keep in (False, True):
        made = FinetunedNetwork(SoundNet8({"x": 2}), "conv5", CLASSES, "conv4", "roots", keep_statistics=keep)
        before = {name: each.clone() for name, each in made.named_buffers()}
        made.train()
        made(100 * torch.randn(4, 1, SAMPLES))
        moved = {name.split(".")[-2] for name, each in made.named_buffers() if not torch.equal(each, before[name])}
        assert moved == ({"norm"} if keep else {"batchnorm4", "batchnorm5", "norm"})
        assert {name for name, each in made.named_parameters() if not each.requires_grad} == {
            f"network.{kind}{number}.{part}"
            for kind in ("conv", "batchnorm")
            for number in (1, 2, 3)
            for part in ("weight", "bias")
        }


def test_layers_that_are_joined_are_told_once() -> None:
    with pytest.raises(SettingsError, match=r"layer is pool5\+pool5; name each once"):
        FinetunedNetwork(SoundNet8({"x": 2}), "pool5+pool5", CLASSES)
    with pytest.raises(SettingsError, match="conv8 is the student's own head"):
        FinetunedNetwork(SoundNet8({"x": 2}), "pool5+conv8", CLASSES)
