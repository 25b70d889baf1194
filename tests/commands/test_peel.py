"""The command `peel`: what it writes, and what it refuses."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from soundnet_kd import SoundNet5, SoundNet8
from soundnet_kd.analysis.layers.figures import draw_head, draw_layers, draw_pictures, draw_pooled
from soundnet_kd.commands.peel import peel
from soundnet_kd.errors import RunConflictError, SettingsError
from soundnet_kd.features.activation_file import Peeled, PeeledHead, PeeledLayer, read_peel
from soundnet_kd.figures.filters import draw_filter_pictures
from soundnet_kd.media import write_audio
from soundnet_kd.models import CLASSIFIER_FILE, SoundNet, write_network
from soundnet_kd.models.classifiers import build_classifier
from soundnet_kd.models.finetuned import FinetunedNetwork
from soundnet_kd.models.receptive_field import ReceptiveField

RATE = 22_050
PNG = b"\x89PNG\r\n"


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    path = tmp_path / "clip.wav"
    write_audio(path, np.random.default_rng(0).uniform(-0.5, 0.5, 11 * RATE).astype(np.float32), RATE)
    return path


@pytest.mark.parametrize("kind", [SoundNet8, SoundNet5])
def test_peel_writes_arrays_and_figures(kind: type[SoundNet], sound: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    student = tmp_path / "student.safetensors"
    write_network(kind({"objects": ["cat, $kitty$", "dog"], "scenes": 2}), student, {})
    out = tmp_path / "peel"
    result = peel(sound, student, out)
    figures = ("layers", "pooled", "head_objects", "head_scenes", "filters")
    for figure in figures:
        assert (out / f"{figure}.png").read_bytes().startswith(PNG)
    # 11 s are shorter than 20 s: heard floor(20 / 11) + 1 = 2 times.
    assert "(0 to 11 s, repeated 2 times)" in (out / "layers.svg").read_text(encoding="utf-8")
    assert "cat, $kitty$" in (out / "head_objects.svg").read_text(encoding="utf-8")
    peeled = read_peel(out / "peel.h5")
    assert len(peeled.waveform) == 22 * RATE
    made_by = json.loads((out / "peel.json").read_text(encoding="utf-8"))
    assert made_by["network"]["architecture"] == kind.__name__
    assert made_by["sound"]["file"] == "clip.wav"
    lines = str(result).splitlines()
    assert lines[-1] == f"wrote {out}: {len(peeled.layers)} layers for 11 s of sound"
    assert [line.split()[0] for line in lines[1:-1]] == list(peeled.layers)
    # What the output tells of a class is no probability.
    assert [line.count("(logit ") for line in lines[1:-1]] == [0] * (len(peeled.layers) - 1) + [3]
    assert "logit " in (out / "layers.svg").read_text(encoding="utf-8")

    before = {path.name: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(RunConflictError, match=r"settings\.start_seconds was 0\.0, now 1\.0"):
        peel(sound, student, out, start_seconds=1.0)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_a_finetuned_classifier_can_be_peeled(sound: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    classifier = FinetunedNetwork(SoundNet5({"unused": 1}), "pool3", ("cat", "dog", "rain")).eval()
    run = tmp_path / "finetuned"
    write_network(classifier, run / CLASSIFIER_FILE, {})
    peeled = peel(sound, run, tmp_path / "peel").peeled
    assert tuple(peeled.layers) == ("conv1", "pool1", "conv2", "pool2", "conv3", "pool3", "answer")
    with torch.inference_mode():
        logits = classifier.logits(torch.from_numpy(peeled.waveform)[None, None])[0].numpy()
    np.testing.assert_allclose(peeled.layers["answer"].activations[0], logits, rtol=1e-5, atol=1e-7)
    head = peeled.heads["classes"]
    np.testing.assert_allclose(head.contributions.sum(axis=1) + head.bias, logits, rtol=1e-5, atol=1e-7)
    assert (tmp_path / "peel" / "head_classes.png").is_file()


@pytest.mark.parametrize(
    ("name", "figures"),
    [
        ("CatsDogs", {"layers", "pooled", "head_classes", "filters"}),
        ("LightCNN", {"layers", "pooled", "head_classes", "filters", "pictures"}),
        ("FilmGenresRecurrent", {"layers", "pooled", "head_classes", "filters"}),
    ],
)
def test_networks_for_labelled_sounds_can_be_peeled(name: str, figures: set[str], sound: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    result = peel(sound, build_classifier(name, {"class_names": ["dog"]}), tmp_path / "peel", seconds=0.5)
    assert {path.stem for path in (tmp_path / "peel").glob("*.png")} == figures
    drawn = (tmp_path / "peel" / "layers.svg").read_text(encoding="utf-8")
    assert "(0 to 0.5 s, then silence)" in drawn
    if name == "LightCNN":
        assert "1 channel x 81 rows" in drawn
        assert "8 channels x 80 rows" in drawn
        assert "logit" in (tmp_path / "peel" / "head_classes.svg").read_text(encoding="utf-8")
    assert [line.split()[0] for line in str(result).splitlines()[1:-1]] == list(result.peeled.layers)


def test_an_unknown_student_is_refused_before_anything_is_written(sound: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="there is no network"):
        peel(sound, tmp_path / "none.safetensors", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def silent(channels: int, steps: int) -> PeeledLayer:
    return PeeledLayer(np.zeros((steps, channels), np.float32), ReceptiveField(1, 1, 0))


def test_silence_a_single_class_and_a_single_step_can_be_drawn(tmp_path: Path) -> None:
    head = PeeledHead(("dog",), np.zeros((1, 3, 1), np.float32), np.zeros(1, np.float32), np.zeros((3, 1), np.float32))
    peeled = Peeled(
        waveform=np.zeros(4000, np.float32),
        sample_rate=8000,
        amplitude=1.0,
        start_seconds=0.0,
        sound_samples=4000,
        repeats=True,
        layers={"conv1": silent(3, 2000), "average": silent(3, 1), "answer": silent(1, 1)},
        heads={"pet": head},
        filters=None,
    )
    draw_layers(peeled, "silence.wav", "Small", tmp_path / "layers.png")
    draw_pooled(peeled, "silence.wav", "Small", tmp_path / "pooled.png")
    draw_head(head, "pet", "average", tmp_path / "head.png")
    draw_filter_pictures(np.zeros((3, 2, 2)), "conv1", tmp_path / "filters.png")
    assert not draw_pictures(peeled, "silence.wav", "Small", tmp_path / "pictures.png")
    assert not (tmp_path / "pictures.png").exists()
    assert "above the mean" not in (tmp_path / "head.svg").read_text(encoding="utf-8")


def test_a_head_names_the_channel_that_decides(tmp_path: Path) -> None:
    """Class b has channel 5 times 2, less the mean of both classes: +1; what they share, channel 0, is not named."""
    weight = np.zeros((2, 6, 1), np.float32)
    weight[:, 0] = 9
    weight[1, 5] = 2
    head = PeeledHead(("a", "b"), weight, np.zeros(2, np.float32), np.ones((6, 1), np.float32))
    np.testing.assert_array_equal(head.contributions[1], [9, 0, 0, 0, 0, 2])
    draw_head(head, "letters", "conv4", tmp_path / "head.png")
    drawn = (tmp_path / "head.svg").read_text(encoding="utf-8")
    assert "logit +1<" in drawn
    assert "logit -1<" in drawn


def test_channels_that_do_not_answer_are_not_the_strongest(tmp_path: Path) -> None:
    write_audio(tmp_path / "silence.wav", np.zeros(RATE, np.float32), RATE)
    torch.manual_seed(0)
    write_network(SoundNet5({"objects": 3}), tmp_path / "student.safetensors", {})
    lines = str(peel(tmp_path / "silence.wav", tmp_path / "student.safetensors", tmp_path / "out")).splitlines()
    assert lines[1].split()[-2:] == ["32", "-"]
    assert all(line.endswith(" -") for line in lines[1:-2])
    assert lines[-2].split()[0] == "conv5"
