"""X-ARES runs a network by its own protocols, and gives no student the scores of another."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from soundnet_kd.data import Clip
from soundnet_kd.errors import MediaError, SettingsError
from soundnet_kd.interfaces.scikit_learn import SoundNetFeatures
from soundnet_kd.interfaces.xares import clip_encoder, frame_encoder
from soundnet_kd.media import write_audio
from soundnet_kd.pretrained.students import import_student
from tests.benchmarks.suites import esc50_clips, write_xares_tars, xares_task
from tests.interfaces.suite import RATE, hum, need, write_student

need("xares")
from xares.audio_encoder_checker import check_audio_encoder  # noqa: E402

CLASSES = 3
FOLDS = (1, 2)
LAYER = "pool1"
"""Of an untrained student a shallow layer tells sounds apart, and is heard quickly."""
NEIGHBOURS, TEMPERATURE = 10, 0.07


@pytest.fixture(scope="module")
def students(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("students")
    return [write_student(folder / f"{seed}.safetensors", seed) for seed in range(2)]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    folder, made = tmp_path_factory.mktemp("sounds"), []
    for number in range(36):
        path = folder / f"{number}.wav"
        write_audio(path, hum(number % CLASSES, number, 1.0, RATE), RATE)
        made.append(Clip(path.name, path, label=number % CLASSES, fold=FOLDS[number % 2]))
    return made


@pytest.fixture(autouse=True)
def _threads_given_back() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


# The check's sounds are louder than sounds are.
@pytest.mark.filterwarnings("ignore:a waveform reaches:UserWarning")
def test_its_own_check_accepts_them(students: list[str]) -> None:
    for encoder in (clip_encoder(students[0]), clip_encoder(students[0], features="sqrt"), frame_encoder(students[0])):
        assert check_audio_encoder(encoder())


def test_clips_have_the_layers_steps_and_frames_are_46_ms_apart(students: list[str]) -> None:
    sounds = torch.from_numpy(np.stack([hum(kind, kind, 2.0, RATE) for kind in range(2)]))
    clips, frames = clip_encoder(students[0])(), frame_encoder(students[0])()
    assert (clips.sampling_rate, clips.output_dim) == (RATE, 256)
    assert clips.hop_size_in_ms == pytest.approx(371.5, abs=0.1)
    assert clips(sounds).shape[::2] == (2, 256)
    wanted = SoundNetFeatures(students[0]).fit_transform(sounds.numpy())
    np.testing.assert_allclose(clips(sounds).mean(dim=1), wanted, rtol=1e-4, atol=1e-6)
    roots = clip_encoder(students[0], features="sqrt")()(sounds)
    assert roots.shape == (2, 1, 256)
    np.testing.assert_allclose(roots[:, 0], np.sqrt(wanted), rtol=1e-4, atol=1e-4)
    assert frames.hop_size_in_ms == pytest.approx(46.44, abs=0.01)
    assert frames(sounds).shape[::2] == (2, frames.output_dim) == (2, 128)
    assert frames(sounds).shape[1] == pytest.approx(2000 / frames.hop_size_in_ms, abs=1)


def neighbours(rows: NDArray[np.float32], labels: NDArray[np.int64], folds: NDArray[np.int64]) -> float:
    """Compute what X-ARES 0.1.3 calls kNN: of the known clips it scales each feature, not each clip, to length 1."""
    accuracies = []
    for fold in np.unique(folds):
        known, asked = rows[folds != fold], rows[folds == fold]
        similar = (asked / np.linalg.norm(asked, axis=1)[:, None]) @ (
            known / np.maximum(np.linalg.norm(known, axis=0), 1e-12)
        ).T
        nearest = np.argsort(-similar, axis=1)[:, :NEIGHBOURS]
        weights = np.exp(np.take_along_axis(similar, nearest, axis=1) / TEMPERATURE)
        votes = np.zeros((len(asked), labels.max() + 1))
        for row, (places, each) in enumerate(zip(nearest, weights, strict=True)):
            np.add.at(votes[row], labels[folds != fold][places], each)
        accuracies.append((votes.argmax(axis=1) == labels[folds == fold]).mean())
    return float(np.mean(accuracies))


def scores(encoder: Any, folds: tuple[int, ...], classes: int, folder: Path) -> tuple[float, float]:
    task = xares_task(encoder(), folds, classes, folder)
    task.make_encoded_tar()
    return task.run_mlp()[0], task.run_knn()[0]


def test_no_student_gets_the_scores_of_another(students: list[str], clips: list[Clip], tmp_path: Path) -> None:
    """The neighbours are those of our own features; each student has a folder of its own in a shared one."""
    labels, folds = np.array([clip.label for clip in clips]), np.array([clip.fold for clip in clips])
    write_xares_tars(clips, tmp_path / "esc50")
    encoders = [
        clip_encoder(students[0], LAYER),
        clip_encoder(students[0], LAYER, "sqrt"),
        clip_encoder(students[1], LAYER),
    ]
    assert len({encoder.__name__ for encoder in encoders}) == 3
    assert all(encoder.__name__.endswith("Encoder") for encoder in encoders)
    for encoder, student, root in zip(
        encoders, (students[0], students[0], students[1]), (False, True, False), strict=True
    ):
        mlp, knn = scores(encoder, FOLDS, CLASSES, tmp_path)
        rows = SoundNetFeatures(student, LAYER).fit_transform([str(clip.path) for clip in clips])
        assert knn == pytest.approx(neighbours(np.sqrt(rows) if root else rows, labels, folds), abs=1e-6)
        assert 0 <= mlp <= 1
        kept = tmp_path / "esc50" / "checkpoints" / encoder.__name__ / "knn_score.txt"
        assert float(kept.read_text().splitlines()[0]) == knn


def test_its_runner_finds_the_encoder_in_a_file(students: list[str], clips: list[Clip], tmp_path: Path) -> None:
    """As a user calls it: `python -m xares.run encoder.py task.py`."""
    write_xares_tars(clips, tmp_path / "env" / "esc50")
    (tmp_path / "encoder.py").write_text(
        f"from soundnet_kd.interfaces.xares import clip_encoder\n"
        f"SoundNetEncoder = clip_encoder({students[0]!r}, {LAYER!r})\n"
    )
    (tmp_path / "task.py").write_text(
        textwrap.dedent(f"""
        from tests.benchmarks.suites import xares_task
        def hum_config(encoder):
            return xares_task(encoder, {FOLDS}, {CLASSES}, "env").config
        """)
    )
    paths = os.pathsep.join([str(Path(__file__).parents[2]), str(tmp_path), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "xares.run", "--max-jobs", "0", "encoder.py", "task.py"]
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Weighted Average KNN Score for All Datasets" in done.stdout, done.stdout + done.stderr
    (folder,) = (tmp_path / "env" / "esc50" / "checkpoints").iterdir()
    assert folder.name == clip_encoder(students[0], LAYER).__name__


def test_sounds_that_are_none(students: list[str]) -> None:
    for encoder in (clip_encoder(students[0])(), frame_encoder(students[0])()):
        assert encoder(torch.zeros(2, 3)).shape[::2] == (2, encoder.output_dim)
        with pytest.raises(MediaError, match="without a sample"):
            encoder(torch.zeros(2, 0))
        with pytest.raises(MediaError, match="NaN"):
            encoder(torch.full((1, 9), torch.nan))
    with pytest.raises(SettingsError, match="features is 'root'"):
        clip_encoder(students[0], features="root")  # type: ignore[arg-type]


@pytest.mark.real
def test_the_released_network_on_real_sounds(real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three classes of ESC-50; the neighbours are those of our own features, and the trained layer knows them well."""
    monkeypatch.setenv("SOUNDNET_KD_CACHE", str(tmp_path / "cache"))
    import_student(real_data / "soundnet_reference" / "sound8.npy", "soundnet8")
    clips = [clip for clip in esc50_clips(real_data / "esc50", CLASSES) if clip.fold < 4]
    write_xares_tars(clips, tmp_path / "esc50")
    encoder = clip_encoder("soundnet8")
    assert encoder.__name__.startswith("soundnet8_pool5_mean_")
    mlp, knn = scores(encoder, (1, 2, 3), CLASSES, tmp_path)
    rows = SoundNetFeatures("soundnet8").fit_transform([str(clip.path) for clip in clips])
    labels, folds = np.array([clip.label for clip in clips]), np.array([clip.fold for clip in clips])
    assert knn == pytest.approx(neighbours(rows, labels, folds), abs=0.02)
    assert mlp > 0.6
