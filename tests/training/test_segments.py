"""Segments of clips: where they begin, in which order they come, how they repeat, and on which scale they are."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import ArrayLike

from soundnet_kd.data.datasets.cats_dogs import CatsDogs
from soundnet_kd.errors import SettingsError
from soundnet_kd.media import RawAudioFile, read_audio
from soundnet_kd.training.augmentation import UNCHANGED, Augmentation
from soundnet_kd.training.segments import (
    Crops,
    LabelledSounds,
    LoudSegmentDataset,
    Pieces,
    Sampling,
    SegmentDataset,
    Segments,
    SlidingDataset,
    crop,
)

RATE = 1000


def stored(path: Path, samples: ArrayLike) -> RawAudioFile:
    np.asarray(samples, np.float32).tofile(path)
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


SLOW_RATE = 10


def labelled(folder: Path, lengths: list[int], samples: int, standardise: bool = False) -> LabelledSounds:
    """Sound n counts up from n in hundredths."""
    sounds = [stored(folder / str(n), n + np.arange(length) / 100) for n, length in enumerate(lengths)]
    return LabelledSounds(sounds, np.eye(len(lengths), dtype=np.float32), SLOW_RATE, samples, standardise)


def test_whole_pieces_one_after_the_other(tmp_path: Path) -> None:
    """Of 25, 10, 9 and 4 samples: two, one, and a single padded one each."""
    stream = Pieces().test(labelled(tmp_path, [25, 10, 9, 4], 10))
    assert stream.owners.tolist() == [0, 0, 1, 2, 3]
    firsts = [float(stream[position][0][0, 0]) for position in range(5)]
    np.testing.assert_allclose(firsts, [0.0, 0.1, 1.0, 2.0, 3.0], atol=1e-6)
    np.testing.assert_allclose(stream[4][0][0], [3, 3.01, 3.02, 3.03, 0, 0, 0, 0, 0, 0], atol=1e-6)
    assert stream[1][1].tolist() == [1, 0, 0, 0]
    assert Pieces(hop_seconds=0.5).test(labelled(tmp_path, [25, 10], 10)).owners.tolist() == [0, 0, 0, 0, 1]
    repeated = Pieces(fill="repeat").test(labelled(tmp_path, [4], 10))[0][0][0]
    np.testing.assert_allclose(repeated, np.tile([0, 0.01, 0.02, 0.03], 3)[:10], atol=1e-6)


def test_105_segments_of_the_ten_clips_are_whole_seconds(tmp_path: Path) -> None:
    """Clips of 1.0 to 1.9 s have one whole second, of 20 s twenty."""
    stream = Segments().test(labelled(tmp_path, [10, 19, 200, 31], 10))
    assert Counter(stream.owners.tolist()) == {0: 1, 1: 1, 2: 20, 3: 3}


@pytest.mark.real
def test_the_real_cats_and_dogs_are_as_described(real_data: Path, tmp_path: Path) -> None:
    """FACTS.md, section 2: 164 cats and 113 dogs; ten named clips give 105 segments of a second."""
    data = CatsDogs().read(real_data / "cats_dogs", seed=0)
    assert data.manifest.class_names == ("cat", "dog")
    assert Counter(clip.label for clip in data.manifest.clips) == {0: 164, 1: 113}
    (splits,) = data.splits.values()
    tested = [clip for clip, part in zip(data.manifest.clips, splits, strict=True) if part == "test"]
    assert len(tested) == 10
    sounds = [stored(tmp_path / clip.path.name, read_audio(str(clip.path), 16_000)[0]) for clip in tested]
    targets = np.eye(2, dtype=np.float32)[[clip.label for clip in tested]]
    assert len(Segments().test(LabelledSounds(sounds, targets, 16_000, 16_000, True)).owners) == 105


def test_every_pass_is_another_order_of_all_pieces(tmp_path: Path) -> None:
    stream = Pieces().training(labelled(tmp_path, [25, 10, 9], 10), UNCHANGED, 0, 3)
    passes = [[round(float(stream[p + 4 * n][0][0, 0]), 2) for p in range(4)] for n in range(6)]
    assert all(sorted(each) == [0.0, 0.1, 1.0, 2.0] for each in passes)
    assert len({tuple(each) for each in passes}) > 1
    assert len(stream) == 4


def test_a_piece_is_brought_to_the_scale_of_its_whole_sound(tmp_path: Path) -> None:
    data = labelled(tmp_path, [20], 10, standardise=True)
    stream = Pieces().test(data)
    waveform = np.arange(20) / 100
    expected = (waveform - waveform.mean()) / waveform.std()
    np.testing.assert_allclose(np.concatenate([stream[0][0][0], stream[1][0][0]]), expected, atol=1e-5)


def test_a_part_of_a_file_is_a_sound_of_its_own(tmp_path: Path) -> None:
    whole = stored(tmp_path / "sound", np.arange(50))
    part = RawAudioFile(whole.file, first=20, count=15)
    assert len(part) == 15
    assert part.read().tolist() == list(range(20, 35))
    assert part.cut(10, 10).tolist() == list(range(30, 35))
    assert [len(piece) for piece in part.blocks(6)] == [6, 6, 3]
    assert len(RawAudioFile(whole.file, first=45, count=15)) == 5
    assert len(RawAudioFile(whole.file, first=60)) == 0


def test_segments_take_turns_and_are_loud_enough(tmp_path: Path) -> None:
    """Two sounds of the first class lie behind each other; its quiet third is never drawn."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(900) * 0.1 + 0.05
    noise[300:600] = 0.05
    sounds = [
        stored(tmp_path / "a", noise[:450]),
        stored(tmp_path / "b", 0.01 * rng.standard_normal(300)),
        stored(tmp_path / "c", noise[450:]),
    ]
    targets = np.array([[0], [1], [0]], np.float32)
    stream = LoudSegmentDataset(LabelledSounds(sounds, targets, SLOW_RATE, 20), 0.4, 40, UNCHANGED, seed=0)
    vector = (noise - noise.mean()) / noise.std()
    windows = np.lib.stride_tricks.sliding_window_view(vector, 20)
    assert [float(stream[position][1]) for position in range(6)] == [0, 1, 0, 1, 0, 1]
    starts = set()
    for position in range(0, 400, 2):
        segment = stream[position][0][0].numpy()
        assert segment.max() > 0.4
        distances = np.abs(windows - segment).max(axis=1)
        assert distances.min() < 1e-4
        starts.add(int(distances.argmin()))
    assert not starts & set(range(300, 581))
    assert {start // 300 for start in starts} == {0, 1, 2}
    heights = np.concatenate([stream[position][0][0] for position in range(1, 400, 2)])
    assert heights.std() == pytest.approx(1, abs=0.05)


def test_segments_that_there_are_none_of(tmp_path: Path) -> None:
    short, silent = stored(tmp_path / "a", np.ones(5)), stored(tmp_path / "b", np.zeros(100))
    target = np.ones((1, 1), np.float32)
    with pytest.raises(SettingsError, match="5 samples of sound, less than a segment of 20"):
        LoudSegmentDataset(LabelledSounds([short], target, SLOW_RATE, 20), 0.4, 40, UNCHANGED, seed=0)
    with pytest.raises(SettingsError, match=r"louder than sampling.segments.least_peak \(0.4\)"):
        LoudSegmentDataset(LabelledSounds([silent], target, SLOW_RATE, 20), 0.4, 40, UNCHANGED, seed=0)


def test_shifted_pieces_stay_inside_their_sound(tmp_path: Path) -> None:
    data = labelled(tmp_path, [25], 10)
    stream = Pieces().training(data, Augmentation(shift=True), 0, 3)
    starts = {round(100 * float(stream[position][0][0, 0])) for position in range(300)}
    assert starts == set(range(16))
    assert isinstance(stream, SlidingDataset)
