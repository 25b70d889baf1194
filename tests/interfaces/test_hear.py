"""HEAR's interface: shapes, attributes, and timestamps that are where the sound is."""

from pathlib import Path

import numpy as np
import pytest
import torch

from soundnet_kd import SoundNet5, SoundNet8
from soundnet_kd.interfaces import listening
from soundnet_kd.interfaces.hear import (
    HearModel,
    get_scene_embeddings,
    get_timestamp_embeddings,
    load_model,
)
from soundnet_kd.models import LogMelCNN, Student, write_network

RATE = 22_050


@pytest.fixture(scope="module")
def model() -> HearModel:
    torch.manual_seed(0)
    return HearModel(SoundNet8({"objects": 3}))


def test_what_hear_asks_for(model: HearModel, tmp_path: Path) -> None:
    write_network(model.network, tmp_path / "student.safetensors", {})
    loaded = load_model(str(tmp_path / "student.safetensors"))
    assert isinstance(loaded, torch.nn.Module)
    assert (loaded.sample_rate, loaded.scene_embedding_size, loaded.timestamp_embedding_size) == (RATE, 256, 128)
    audio = torch.rand(3, RATE * 4) * 2 - 1
    scenes = get_scene_embeddings(audio, loaded)
    embeddings, timestamps = get_timestamp_embeddings(audio, loaded)
    assert scenes.shape == (3, 256)
    assert scenes.dtype == embeddings.dtype == torch.float32
    assert embeddings.shape == (3, timestamps.shape[1], 128)
    assert timestamps.shape[0] == 3
    assert torch.isfinite(embeddings).all()
    # A classifier may be trained on them.
    torch.nn.Linear(256, 2)(scenes).sum().backward()


@pytest.mark.parametrize("network", [SoundNet5, SoundNet8, LogMelCNN])
def test_timestamps_are_evenly_spaced_inside_the_sound(network: type[Student]) -> None:
    """To a thousandth of a millisecond from the first on, as HEAR's validator asks, and at most 50 ms apart."""
    _, timestamps = get_timestamp_embeddings(torch.rand(2, RATE * 2), HearModel(network({"objects": 3})))
    spacing = timestamps.diff()
    assert float((spacing - spacing.mean()).abs().max()) < 1e-3
    assert 0 < float(spacing.mean()) <= 50
    assert 0 <= float(timestamps[0, 0]) < 50
    assert 1950 < float(timestamps[0, -1]) < 2000


def test_scenes_are_the_students_features(model: HearModel) -> None:
    sound = np.random.default_rng(0).uniform(-1, 1, RATE * 25).astype(np.float32)
    with torch.inference_mode():
        wanted = model.network(model.network.preprocessing(sound)[None], ["pool5"])["pool5"].mean(dim=-1)
    torch.testing.assert_close(get_scene_embeddings(torch.from_numpy(sound)[None], model), wanted, rtol=1e-4, atol=1e-6)


def test_long_sounds_are_heard_in_pieces_with_the_same_answer(
    model: HearModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    audio = torch.rand(3, RATE * 22) * 2 - 1
    whole = get_scene_embeddings(audio, model), *get_timestamp_embeddings(audio, model)
    monkeypatch.setattr(listening, "SAMPLES_AT_ONCE", 3 * 100_003)
    pieces = get_scene_embeddings(audio, model), *get_timestamp_embeddings(audio, model)
    for one, other in zip(whole, pieces, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("seconds", [0.0001, 0.01, 0.3, 1.0])
def test_short_sounds_have_a_timestamp(model: HearModel, seconds: float) -> None:
    audio = torch.rand(2, round(seconds * RATE))
    embeddings, timestamps = get_timestamp_embeddings(audio, model)
    assert embeddings.shape[1] == timestamps.shape[1] >= 1
    assert torch.isfinite(embeddings).all()
    assert get_scene_embeddings(audio, model).shape == (2, 256)


def test_a_timestamp_is_where_its_sound_is(model: HearModel) -> None:
    """A click after 2 s changes the steps around it most."""
    quiet = torch.zeros(1, RATE * 4)
    click = quiet.clone()
    click[0, 2 * RATE] = 1.0
    before, timestamps = get_timestamp_embeddings(quiet, model)
    after, _ = get_timestamp_embeddings(click, model)
    change = (after - before).abs().sum(dim=2)[0]
    assert float((change * timestamps[0]).sum() / change.sum()) == pytest.approx(2000, abs=60)


@pytest.mark.parametrize(("network", "scene", "timestamp"), [(SoundNet5, 128, 128), (LogMelCNN, 512, 64)])
def test_other_students_have_embeddings_too(network: type[Student], scene: int, timestamp: int) -> None:
    model = HearModel(network({"objects": 2}))
    audio = torch.rand(2, RATE * 2)
    assert get_scene_embeddings(audio, model).shape == (2, model.scene_embedding_size) == (2, scene)
    assert get_timestamp_embeddings(audio, model)[0].shape[2] == model.timestamp_embedding_size == timestamp
