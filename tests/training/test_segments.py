"""Pieces of clips: where they begin, how they repeat, what share of which class they are."""

from pathlib import Path

import numpy as np
import pytest

from soundnet_kd.media import RawAudioFile
from soundnet_kd.training.augmentation import UNCHANGED, Augmentation
from soundnet_kd.training.segments import Crops, LabelledSounds, Sampling, SegmentDataset, crop

RATE = 1000


def stored(path: Path, samples: list[float]) -> RawAudioFile:
    np.array(samples, np.float32).tofile(path)
    return RawAudioFile(path)


@pytest.mark.parametrize(
    ("start", "samples", "expected"),
    [(0, 2, [0, 1]), (2, 3, [2, 3, 4]), (3, 4, [3, 4, 0, 1]), (4, 12, [4, 0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0])],
)
def test_a_piece_of_an_endless_repetition(start: int, samples: int, expected: list[int], tmp_path: Path) -> None:
    piece = crop(stored(tmp_path / "sound", [0, 1, 2, 3, 4]), start, samples)
    assert piece.dtype == np.float32
    assert piece.tolist() == expected


def stream_of(folder: Path, augmentation: Augmentation, seed: int = 0) -> SegmentDataset:
    sounds = [stored(folder / str(number), [number / 10 + place / 100 for place in range(5)]) for number in range(4)]
    targets = np.eye(3, dtype=np.float32)[[2, 0, 1, 0]]
    return Crops(0.004).training(LabelledSounds(sounds, targets, RATE, samples=4), augmentation, seed, batch_size=4)


def test_every_pass_gives_every_clip_once_with_its_class(tmp_path: Path) -> None:
    stream = stream_of(tmp_path, UNCHANGED)
    for number in range(3):
        heard = {}
        for position in range(4 * number, 4 * number + 4):
            waveform, shares = stream[position]
            assert waveform.shape == (1, 4)
            np.testing.assert_allclose(np.diff(waveform[0]), 0.01, atol=1e-6)
            heard[round(10 * float(waveform[0, 0]))] = shares.tolist()
        assert heard == {0: [0, 0, 1], 1: [1, 0, 0], 2: [0, 1, 0], 3: [1, 0, 0]}


def test_a_shifted_piece_begins_anywhere(tmp_path: Path) -> None:
    stream = stream_of(tmp_path, Augmentation(shift=True))
    firsts = {round(100 * float(stream[position][0][0, 0])) % 10 for position in range(200)}
    assert firsts == {0, 1, 2, 3, 4}


def test_mixed_pieces_are_shares_of_classes_and_repeatable(tmp_path: Path) -> None:
    everything = Augmentation(shift=True, mix=1.0, gain_db=6, noise=0.5)
    stream, again, other = (stream_of(tmp_path, everything, seed) for seed in (0, 0, 1))
    differences = 0
    for position in range(50):
        waveform, shares = stream[position]
        assert float(shares.sum()) == pytest.approx(1, abs=1e-5)
        assert np.array_equal(waveform, again[position][0])
        assert np.array_equal(shares, again[position][1])
        differences += not np.array_equal(waveform, other[position][0])
    assert differences == 50


def test_whole_clips_are_tested_and_measured_in_pieces(tmp_path: Path) -> None:
    sounds = [stored(tmp_path / str(length), [place / 100 for place in range(length)]) for length in (9, 3)]
    labelled = LabelledSounds(sounds, np.eye(2, dtype=np.float32), RATE, samples=4)
    measured = Crops(0.004).validation(labelled, seed=0, batch_size=2)
    assert [round(100 * float(measured[place][0][0, 0])) for place in range(len(measured))] == [0, 4, 0]
    np.testing.assert_allclose(measured[2][0][0], [0, 0.01, 0.02, 0], atol=1e-6)
    sampling: Sampling = Crops(0.004)
    assert sampling.test(labelled) is None
