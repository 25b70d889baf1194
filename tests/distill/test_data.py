"""Clips of 20 s, which of them are held out, and a stream of them that any number of processes take up anywhere."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from soundnet_kd.data import LabelledClip, Targets
from soundnet_kd.distill.data import (
    MEASURED_CLIPS,
    ClockedLoader,
    TargetsDataModule,
    TrainingStream,
    feature_moments,
    fill_clip,
    held_out_clips,
    join_clips,
)
from soundnet_kd.errors import SettingsError
from soundnet_kd.training.augmentation import UNCHANGED_CLIPS, ClipAugmentation
from soundnet_kd.training.loading import StreamBatches
from tests.targets import make_clip, make_targets

RATE = 100


def clip_of(steps: int, samples: int) -> LabelledClip:
    rows = np.arange(steps * 2, dtype=np.float32).reshape(steps, 2)
    return LabelledClip("v", 0.0, np.arange(1, samples + 1).astype(np.int16), np.zeros(steps), {"a": rows})


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> Targets:
    rng = np.random.default_rng(0)
    clips = [make_clip(f"{index}.mp4", 1 + index % 4, rng, samples=30_000) for index in range(7)]
    return Targets(make_targets(tmp_path_factory.mktemp("targets"), clips))


def stream_of(targets: Targets, seed: int = 0, augmentation: ClipAugmentation = UNCHANGED_CLIPS) -> TrainingStream:
    return TrainingStream(targets, np.arange(len(targets)), augmentation, seed)


@pytest.mark.parametrize(
    ("steps", "order"), [(1, [0, 0, 0, 0]), (2, [0, 1, 0, 1]), (3, [0, 1, 2, 0]), (4, [0, 1, 2, 3])]
)
def test_short_videos_are_repeated_to_four_steps(steps: int, order: list[int]) -> None:
    sound, targets = fill_clip(clip_of(steps, steps * 5 * RATE), RATE)
    assert sound.shape == (20 * RATE,)
    assert targets["distributions/a"].tolist() == [[2.0 * step, 2.0 * step + 1] for step in order]
    # The sound of each step is the sound that its labels belong to.
    for place, step in enumerate(order):
        found = sound[place * 5 * RATE : (place + 1) * 5 * RATE]
        assert found.tolist() == list(range(step * 5 * RATE + 1, (step + 1) * 5 * RATE + 1))


def test_sound_shorter_than_its_steps_is_padded_with_zeros() -> None:
    sound, _ = fill_clip(clip_of(2, 700), RATE)
    assert sound[:700].tolist() == list(range(1, 701))
    assert not sound[700:1000].any()
    np.testing.assert_array_equal(sound[1000:], sound[:1000])


def test_sound_longer_than_its_steps_is_cut() -> None:
    sound, _ = fill_clip(clip_of(1, 900), RATE)
    assert sound.tolist() == 4 * list(range(1, 501))


def test_every_pass_gives_every_clip_once_in_another_order(targets: Targets) -> None:
    stream = stream_of(targets, seed=1)
    passes = [[stream.index_at(number * 7 + place) for place in range(7)] for number in range(3)]
    assert all(sorted(order) == list(range(7)) for order in passes)
    assert len({tuple(order) for order in passes}) == 3


def test_the_seed_decides(targets: Targets) -> None:
    def order(seed: int) -> list[int]:
        return [stream_of(targets, seed).index_at(position) for position in range(21)]

    assert order(0) == order(0)
    assert order(0) != order(1)


def test_what_a_position_holds_depends_on_nothing_else(targets: Targets) -> None:
    """Also with augmentation, in whatever order and process positions are read."""
    everything = ClipAugmentation(shift=True, mix=0.5, gain_db=6, noise=0.5)
    here = [stream_of(targets, 3, everything)[position] for position in range(12)]
    there = list(
        ClockedLoader(
            stream_of(targets, 3, everything), batch_sampler=[[11, 3], [7, 0]], num_workers=2, collate_fn=list
        )
    )
    for position, example in zip((11, 3, 7, 0), [example for batch in there for example in batch], strict=True):
        torch.testing.assert_close(example, here[position], rtol=0, atol=0)
    again = stream_of(targets, 3, everything)[5 + 7]
    assert not torch.equal(again[0], here[5][0])


def test_without_augmentation_the_stream_holds_the_sound_as_stored(targets: Targets) -> None:
    stream = stream_of(targets)
    sound, rows, *_ = stream[4]
    wanted, distributions = fill_clip(targets[stream.index_at(4)], targets.sample_rate)
    assert sound.dtype == torch.int16
    np.testing.assert_array_equal(sound[0].numpy(), wanted)
    np.testing.assert_array_equal(rows["scenes"].numpy(), distributions["distributions/scenes"].T)


def test_clips_are_joined_each_step_with_its_own_labels() -> None:
    """One step, then three, of which those follow that are left to fill: two in a row, then nothing more is taken."""
    short, first, rest = clip_of(1, 400), clip_of(1, 500), clip_of(3, 1500)
    asked = iter([(short, 5), (first, 6), (rest, 7), (short, 8)])
    sound, rows = join_clips(asked, RATE, np.random.default_rng(0))
    assert sound[:500].tolist() == [*range(1, 401), *[0] * 100]
    assert sound[500:1000].tolist() == list(range(1, 501))
    start = int(rows["distributions/a"][2, 0]) // 2
    assert start in (0, 1)
    assert sound[1000:].tolist() == list(range(start * 500 + 1, start * 500 + 1001))
    assert rows["distributions/a"][:, 0].tolist() == [0, 0, 2 * start, 2 * start + 2]
    assert rows["video"].tolist() == [5, 6, 7, 7]
    assert next(asked) == (short, 8)


def test_joined_clips_come_of_the_seed_and_have_several_videos(targets: Targets) -> None:
    joining = ClipAugmentation(join=True)
    here, there = (stream_of(targets, 3, joining) for _ in range(2))
    for position in (11, 3, 7, 0, 12):
        torch.testing.assert_close(here[position], there[position], rtol=0, atol=0)
    lengths = {position: 1 + here.index_at(position) % 4 for position in range(7)}
    numbers = targets.videos.argsort().argsort()
    for position, steps in lengths.items():
        example, plain = here[position], stream_of(targets, 3)[position]
        videos = example.video.tolist()
        assert len(videos) == 4
        assert videos[:steps] == [numbers[here.index_at(position)]] * steps
        assert example.sound.dtype == torch.int16
        torch.testing.assert_close(example.sound[:, : steps * 110_250], plain.sound[:, : steps * 110_250])
    assert any(len(set(here[position].video.tolist())) > 2 for position in range(40))


def test_augmentation_treats_features_as_it_does_distributions() -> None:
    """Features that are twice the distributions stay so, whatever happens to both; the first clip's video stays."""
    rng = np.random.default_rng(0)
    rows = rng.random((4, 3)).astype(np.float32)
    other = rng.random((4, 3)).astype(np.float32)
    waveform = (rng.normal(size=400) / 10).astype(np.float32)
    video = np.array([1, 1, 2, 2])
    clips = [
        {"distributions/a": each, "features/a": 2 * each, "video": video * n} for n, each in ((1, rows), (9, other))
    ]
    everything = ClipAugmentation(shift=True, mix=1.0, gain_db=3, noise=1.0)
    _, varied = everything((waveform, clips[0]), lambda: (waveform, clips[1]), RATE, np.random.default_rng(1))
    np.testing.assert_allclose(varied["features/a"], 2 * varied["distributions/a"], rtol=1e-6)
    assert not np.isclose(varied["features/a"], 2 * rows).any()
    assert sorted(varied["video"].tolist()) == [1, 1, 2, 2]


def test_moments_of_features_by_hand(tmp_path: Path) -> None:
    """1, 3 and 5 have mean 3 and deviation sqrt(8/3), the median; what hardly ever changes has 1 % of it."""
    features = [np.array([[1, 7, 2, 7]]), np.array([[3, 7, 6, 7], [5, 7, 10, 7.0078125]]), np.full((1, 4), 900)]
    rng = np.random.default_rng(0)
    clips = [
        replace(make_clip(f"{n}.mp4", len(rows), rng, samples=10), features={"a": rows.astype(np.float32)})
        for n, rows in enumerate(features)
    ]
    mean, deviation = feature_moments(Targets(make_targets(tmp_path, clips)), np.array([0, 1]))["a"]
    np.testing.assert_allclose(mean, [3, 7, 6, 7 + 1 / 384], rtol=1e-6)
    np.testing.assert_allclose(deviation, np.sqrt(8 / 3) * np.array([1, np.sqrt(3 / 8), 2, 0.01]), rtol=1e-6)


@pytest.mark.parametrize("first_step", [0, 1, 4, 9])
def test_taking_up_the_stream_at_a_step(first_step: int) -> None:
    whole = list(StreamBatches(batch_size=8, steps=10))
    assert list(StreamBatches(batch_size=8, steps=10, first_step=first_step)) == whole[first_step:]


@pytest.mark.parametrize(("ranks", "accumulate"), [(1, 1), (2, 1), (1, 3), (2, 3), (6, 2)])
def test_a_step_takes_the_same_clips_however_it_is_divided(ranks: int, accumulate: int) -> None:
    shares = [list(StreamBatches(12, 5, 0, accumulate, rank, ranks)) for rank in range(ranks)]
    assert {len(share) for share in shares} == {5 * accumulate}
    assert {len(batch) for share in shares for batch in share} == {12 // (ranks * accumulate)}
    for step in range(5):
        batches = [batch for share in shares for batch in share[step * accumulate : (step + 1) * accumulate]]
        assert sorted(position for batch in batches for position in batch) == list(range(step * 12, step * 12 + 12))


def test_clips_of_a_video_are_on_one_side(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    clips = [make_clip(f"{index // 3}.mp4", 1, rng, samples=10) for index in range(30)]
    data = TargetsDataModule(Targets(make_targets(tmp_path, clips)), batch_size=2, steps=1, held_out=0.3)
    learned = {int(index) // 3 for index in data.training.clips}
    measured = {int(index) // 3 for index in data.validation.indices}
    assert learned
    assert measured
    assert not learned & measured
    assert learned | measured == set(range(10))


def videos(*names: int) -> NDArray[np.uint64]:
    return np.array(names, dtype=np.uint64)


def test_held_out_videos_stay_when_others_come() -> None:
    names = videos(*range(200))
    training, held = held_out_clips(names, 0.1, seed=0)
    assert 8 <= len(held) <= 32  # 20 expected, the deviation of a binomial is 4.2
    assert sorted([*training, *held]) == list(range(200))
    _, backwards = held_out_clips(names[::-1].copy(), 0.1, seed=0)
    assert sorted(199 - backwards) == held.tolist()
    _, more = held_out_clips(videos(*range(220)), 0.1, seed=0)
    assert [index for index in more if index < 200] == held.tolist()
    assert held_out_clips(names, 0.1, seed=1)[1].tolist() != held.tolist()


@pytest.mark.parametrize(("count", "share", "held"), [(1, 0.5, 0), (2, 1e-9, 1), (3, 0.999999, 2), (10, 0.0, 0)])
def test_something_is_always_left_to_learn_from(count: int, share: float, held: int) -> None:
    training, measured = held_out_clips(videos(*range(count)), share, seed=0)
    assert (len(training), len(measured)) == (count - held, held)


def test_of_many_held_out_clips_some_are_measured_and_none_is_learned() -> None:
    names = np.repeat(np.arange(100, dtype=np.uint64), 100)
    training, measured = held_out_clips(names, 0.5, seed=0)
    assert len(measured) == MEASURED_CLIPS
    assert len(set(names[measured].tolist())) > 30
    assert not set(names[measured].tolist()) & set(names[training].tolist())


def test_a_share_is_a_share() -> None:
    with pytest.raises(SettingsError, match=r"held_out is 1\.0"):
        held_out_clips(videos(1, 2), 1.0, seed=0)
