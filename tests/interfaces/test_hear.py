"""HEAR's interface: shapes, attributes, and timestamps that are where the sound is."""

from pathlib import Path

import numpy as np
import pytest
import torch

from soundnet_kd import SoundNet8
from soundnet_kd.interfaces.hear import (
    HearModel,
    get_scene_embeddings,
    get_timestamp_embeddings,
    load_model,
    receptive_field,
)
from soundnet_kd.models import write_student

RATE = 22_050


@pytest.fixture(scope="module")
def model() -> HearModel:
    torch.manual_seed(0)
    return HearModel(SoundNet8({"objects": 3}))


def test_what_hear_asks_for(model: HearModel, tmp_path: Path) -> None:
    write_student(model.student, tmp_path / "student.safetensors", {})
    loaded = load_model(str(tmp_path / "student.safetensors"))
    assert isinstance(loaded, torch.nn.Module)
    assert (loaded.sample_rate, loaded.scene_embedding_size, loaded.timestamp_embedding_size) == (RATE, 256, 256)
    audio = torch.rand(3, RATE * 4) * 2 - 1
    scenes = get_scene_embeddings(audio, loaded)
    embeddings, timestamps = get_timestamp_embeddings(audio, loaded)
    assert scenes.shape == (3, 256)
    assert scenes.dtype == embeddings.dtype == torch.float32
    assert embeddings.shape == (3, timestamps.shape[1], 256)
    assert timestamps.shape[0] == 3
    assert float(timestamps[0, 0]) >= 0
    assert float(timestamps[0, -1]) < 4000
    spacing = timestamps[0].diff()
    torch.testing.assert_close(spacing[1:], torch.full_like(spacing[1:], 2048 / RATE * 1000), rtol=1e-3, atol=1e-2)
    assert torch.isfinite(embeddings).all()


def test_scenes_are_the_students_features(model: HearModel) -> None:
    sound = np.random.default_rng(0).uniform(-1, 1, RATE * 25).astype(np.float32)
    with torch.inference_mode():
        wanted = model.student(model.student.preprocessing(sound)[None], ["pool5"])["pool5"].mean(dim=-1)
    torch.testing.assert_close(get_scene_embeddings(torch.from_numpy(sound)[None], model), wanted)


@pytest.mark.parametrize("seconds", [0.01, 0.3, 1.0])
def test_short_sounds_have_a_timestamp(model: HearModel, seconds: float) -> None:
    embeddings, timestamps = get_timestamp_embeddings(torch.rand(1, round(seconds * RATE)), model)
    assert embeddings.shape[1] == timestamps.shape[1] >= 1


def test_receptive_fields_by_hand() -> None:
    """conv1: 64 samples, every second one. pool1: 64 + 7 x 2, every 16th. conv2: 78 + 31 x 16, every 32nd."""
    student = SoundNet8({"objects": 2})
    assert receptive_field(student, "conv1") == (64, 2, -0.5)
    assert receptive_field(student, "pool1") == (78, 16, 6.5)
    assert receptive_field(student, "conv2") == (574, 32, -1.5)
    assert receptive_field(student, "conv5")[1] == 2048
    assert receptive_field(student, "conv8")[1] == 65_536


@pytest.mark.parametrize("layer", ["conv1", "pool1", "conv3", "conv5", "pool5"])
def test_a_step_hears_what_lies_around_its_middle(layer: str) -> None:
    """Changing the wave just inside the receptive field of a step changes it, just outside does not."""
    torch.manual_seed(0)
    student = SoundNet8({"objects": 2}).eval().double()
    samples, stride, first = receptive_field(student, layer)
    step = 4
    middle = first + step * stride
    start, end = middle - (samples - 1) / 2, middle + (samples - 1) / 2
    assert start == round(start)
    wave = torch.randn(1, 1, round(end) + 4 * stride + samples, dtype=torch.float64) * 100
    with torch.inference_mode():
        before = student(wave, [layer])[layer][0, :, step]
        changed = wave.clone()
        changed[..., : max(0, round(start))] += 50
        changed[..., round(end) + 1 :] += 50
        assert torch.equal(student(changed, [layer])[layer][0, :, step], before)
        changed[..., max(0, round(start)) : round(end) + 1] += 50
        assert not torch.equal(student(changed, [layer])[layer][0, :, step], before)
