"""What the layers that stay as they are give is computed once, and trains as if it were computed each time."""

import json
import logging
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from soundnet_kd import load_student
from soundnet_kd.commands.finetune import finetune
from soundnet_kd.media import RawAudioFile
from soundnet_kd.models.finetuned import FinetunedNetwork
from soundnet_kd.supervised.kept_layers import Versions, keep_layers
from soundnet_kd.training.augmentation import UNCHANGED, Augmentation
from tests.media_files import sine
from tests.supervised.runs import HERTZ, TONE_RATE, rows_of, write_student, write_tones

OPTIONS: Mapping[str, object] = {
    "layer": "conv4",
    "from_layer": "conv3",
    "crop_seconds": 0.5,
    "batch_size": 6,
    "epochs": 4,
    "device": "cpu",
    "folds_only": True,
}
LOUDER = Augmentation(shift=True, gain_db=6.0, noise=0.5)


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_student(tmp_path_factory.mktemp("student") / "student.safetensors")


@pytest.fixture
def network(student: Path) -> FinetunedNetwork:
    torch.manual_seed(0)
    made = FinetunedNetwork(load_student(student), "conv4", list(HERTZ), "conv3").eval()
    with torch.no_grad():
        made.head.weight.mul_(100)
    return made


@pytest.fixture
def sounds(tmp_path: Path) -> dict[str, RawAudioFile]:
    """A short one, one as long as a piece, and a longer one."""
    found = {}
    for name, seconds in (("short", 0.3), ("even", 0.5), ("long", 0.9)):
        sine(300.0, seconds, TONE_RATE, 0.3).tofile(tmp_path / f"{name}.f32")
        found[name] = RawAudioFile(tmp_path / f"{name}.f32")
    return found


def versions_of(augmentation: Augmentation, speeds: tuple[float, ...] = (1.0,), draws: int = 1) -> Versions:
    return Versions(speeds, draws, TONE_RATE // 2, augmentation, seed=3)


@pytest.mark.parametrize("options", [{}, {"head": "roots", "keep_statistics": True, "kept_learning_rate": 1e-4}])
def test_without_augmentation_a_training_is_the_same_as_if_nothing_were_kept(
    options: Mapping[str, object], student: Path, tmp_path: Path
) -> None:
    table = write_tones(tmp_path / "sounds")
    for name, variants in (("anew", 0), ("kept", 1)):
        # A test hears the whole clip, and learned from is its first half second, over and over where it is shorter.
        finetune(table, student, tmp_path / name, augmentation=UNCHANGED, variants=variants, **OPTIONS, **options)  # type: ignore[arg-type]
    anew, kept = (rows_of(tmp_path / name / "history.csv") for name in ("anew", "kept"))
    assert len(anew) == len(kept) == 2 * 4 * 2
    for column in ("train/loss", "train/accuracy", "train/learning_rate"):
        found, wanted = ([float(row[column]) for row in rows] for rows in (kept, anew))
        # What is kept is rounded otherwise, which a training makes more of from epoch to epoch.
        np.testing.assert_allclose(found[:12], wanted[:12], rtol=2e-3, atol=1e-5)
        np.testing.assert_allclose(found, wanted, rtol=5e-2, atol=1e-5)
    for row, other in zip(*(rows_of(tmp_path / name / "probabilities.csv") for name in ("anew", "kept")), strict=True):
        for name in HERTZ:
            assert float(other[name]) == pytest.approx(float(row[name]), abs=2e-3)
    assert not list((tmp_path / "kept").glob(".[a-z]*/"))


def test_what_is_kept_is_what_the_layers_give(
    network: FinetunedNetwork, sounds: dict[str, RawAudioFile], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With a shift of a whole sound, a short one repeated up to the length of a piece; else of its beginning."""
    caplog.set_level(logging.INFO)
    for augmentation, longest in ((UNCHANGED, TONE_RATE // 2), (Augmentation(shift=True), round(0.9 * TONE_RATE))):
        kept = keep_layers(network, sounds, versions_of(augmentation), {}, tmp_path / str(longest), "cpu")
        for name, sound in sounds.items():
            waveform = np.tile(sound.read(), 2)[: max(TONE_RATE // 2, min(longest, len(sound)))]
            with torch.no_grad():
                wanted = network.network(torch.from_numpy(waveform)[None, None] * 256, ["pool2"])["pool2"][0].numpy()
            np.testing.assert_allclose(kept.read(kept.number_of[name], 0), wanted, rtol=1e-4, atol=1e-4)
        kept.close()
    # 22 050 Hz: half a second has 42 steps of pool2 (32 channels), 0.9 s has 77.
    steps = [network.network.steps(samples, "pool2") for samples in (11_025, round(0.9 * TONE_RATE))]
    sizes = [3 * steps[0] * 32 * 4, (2 * steps[0] + steps[1]) * 32 * 4]
    assert [f"{size / 1e9:.2g} GB" in record.message for size, record in zip(sizes, caplog.records, strict=True)]


def test_versions_are_speeds_and_levels(
    network: FinetunedNetwork, sounds: dict[str, RawAudioFile], tmp_path: Path
) -> None:
    versions = versions_of(LOUDER, (0.5, 1.0), draws=3)
    assert len(versions) == 6
    long = sounds["long"]
    heard = [versions.hear(long, 0, version, TONE_RATE) for version in range(6)]
    assert [len(each) for each in heard] == [2 * len(long)] * 3 + [len(long)] * 3
    np.testing.assert_array_equal(heard[3], long.read())
    # A tone of 300 Hz at half its speed is one of 150 Hz, of the same level.
    spectrum = np.abs(np.fft.rfft(heard[0]))
    assert spectrum.argmax() * TONE_RATE / len(heard[0]) == pytest.approx(150, abs=2)
    assert heard[0].std() == pytest.approx(heard[3].std(), rel=0.02)
    assert len({each.tobytes() for each in heard}) == 6
    np.testing.assert_array_equal(versions.hear(long, 0, 4, TONE_RATE), heard[4])
    assert not np.array_equal(versions.hear(long, 1, 4, TONE_RATE), heard[4])
    kept = keep_layers(network, sounds, versions, {}, tmp_path / "kept", "cpu")
    assert kept.versions == 6
    number = kept.number_of["long"]
    assert kept.read(number, 0).shape[1] == network.network.steps(2 * len(long), "pool2")
    kept.close()


def test_what_is_there_is_taken_and_what_is_damaged_or_of_another_network_is_made_again(
    network: FinetunedNetwork, sounds: dict[str, RawAudioFile], tmp_path: Path
) -> None:
    folder = tmp_path / "kept"

    def keep(of: FinetunedNetwork, sha256: str) -> np.ndarray:
        kept = keep_layers(of, sounds, versions_of(UNCHANGED), {"student": sha256}, folder, "cpu")
        steps = kept.read(0, 0)
        kept.close()
        return steps

    first = keep(network, "one")
    file = folder / "part-00000.h5"
    with h5py.File(file, "r+") as content:
        content["0/0"][:] = 7.0
    assert (keep(network, "one") == 7).all()
    other = deepcopy(network)
    with torch.no_grad():
        other.network.get_parameter("conv1.weight").mul_(2)
    assert not np.allclose(keep(other, "two"), first)
    np.testing.assert_array_equal(keep(network, "one"), first)
    file.write_bytes(file.read_bytes()[:1000])
    np.testing.assert_array_equal(keep(network, "one"), first)
    assert len(list(folder.glob("part-00000*"))) == 2


def test_a_test_of_what_is_kept_hears_a_sound_over_and_over(
    network: FinetunedNetwork, sounds: dict[str, RawAudioFile], tmp_path: Path
) -> None:
    """As where the sound is repeated many times; its end and its beginning meet there as they do here."""
    from soundnet_kd.supervised.trial import kept_logits

    versions = versions_of(Augmentation(shift=True, gain_db=6.0), (0.5, 1.0), draws=2)
    kept = keep_layers(network, sounds, versions, {}, tmp_path / "kept", "cpu")
    found = kept_logits(network, kept, ["long"])[0]
    with torch.no_grad():
        waveforms = [versions.hear(sounds["long"], 0, version, TONE_RATE) for version in (0, 2)]
        answers = [network.logits(torch.from_numpy(np.tile(each, 30))[None, None] * 256)[0] for each in waveforms]
    kept.close()
    torch.testing.assert_close(found, sum(answers) / 2, rtol=0, atol=0.2)
    assert (answers[0] - answers[1]).abs().max() > 0.5


def test_the_students_layers_learn_at_a_rate_of_their_own(student: Path, tmp_path: Path) -> None:
    """At a rate of next to nothing they stay where they are, while the head learns."""
    from soundnet_kd.models import read_network

    options = {**OPTIONS, "folds_only": False, "epochs": 2, "schedule": "constant", "weight_decay": 0.0}
    table = write_tones(tmp_path / "sounds")
    out = finetune(table, student, tmp_path / "out", kept_learning_rate=1e-12, learning_rate=0.01, **options).out  # type: ignore[arg-type]
    classifier = read_network(out)
    before = load_student(student).get_parameter("conv3.weight")
    assert isinstance(classifier, FinetunedNetwork)
    torch.testing.assert_close(classifier.network.get_parameter("conv3.weight"), before, rtol=0, atol=1e-9)
    assert all(float(row["train/learning_rate"]) == pytest.approx(0.01) for row in rows_of(out / "history.csv"))
    settings = json.loads((out / "finetune.json").read_text(encoding="utf-8"))["settings"]
    assert settings["kept_learning_rate"] == 1e-12
    assert not {"head", "speeds", "variants", "keep_statistics"} & settings.keys()


def test_a_test_averages_the_logits_over_the_speeds(network: FinetunedNetwork, sounds: dict[str, RawAudioFile]) -> None:
    from scipy.signal import resample

    from soundnet_kd.supervised.trial import clip_logits

    network.network.preprocessing = replace(network.network.preprocessing, least_samples=1)
    found = clip_logits(network, [sounds["long"]], (0.5, 1.0))[0]
    waveform = sounds["long"].read()
    with torch.no_grad():
        each = [
            network.logits(torch.from_numpy(np.asarray(heard, np.float32))[None, None] * 256)[0]
            for heard in (resample(waveform, 2 * len(waveform)), waveform)
        ]
    torch.testing.assert_close(found, sum(each) / 2, rtol=0, atol=0.05)
    assert (each[0] - each[1]).abs().max() > 0.5
