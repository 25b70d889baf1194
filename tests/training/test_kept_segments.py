"""Pieces of kept steps: cut anywhere out of their endless repetition, mixed as their labels are."""

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.training.augmentation import UNCHANGED, Augmentation
from soundnet_kd.training.kept_segments import KeptSegmentDataset

STEPS = 7


class Counted:
    """Of a sound the steps 0 … 6, in the second channel the sound's number, in the third the version's."""

    versions = 3

    def read(self, sound: int, version: int) -> NDArray[np.float32]:
        return np.stack([np.arange(STEPS), np.full(STEPS, sound), np.full(STEPS, version)]).astype(np.float32)


def dataset_of(augmentation: Augmentation, steps: int, margin: int = 0) -> KeptSegmentDataset:
    return KeptSegmentDataset(
        Counted(), np.array([4, 9]), np.eye(2, dtype=np.float32), steps, margin, augmentation, seed=1
    )


def test_unvaried_pieces_are_the_beginnings_of_any_version() -> None:
    dataset = dataset_of(UNCHANGED, 4)
    pieces = [dataset[position] for position in range(60)]
    assert all(steps[0].tolist() == [0, 1, 2, 3] for steps, _ in pieces)
    assert [{4.0: [1, 0], 9.0: [0, 1]}[float(steps[1, 0])] for steps, _ in pieces] == [
        shares.tolist() for _, shares in pieces
    ]
    assert {float(steps[2, 0]) for steps, _ in pieces} == {0, 1, 2}
    # Each pass takes every sound once.
    assert all({float(dataset[2 * number + place][0][1, 0]) for place in (0, 1)} == {4, 9} for number in range(30))


def test_shifted_pieces_begin_anywhere_and_go_on_at_the_start() -> None:
    dataset = dataset_of(Augmentation(shift=True), 5)
    starts = set()
    for position in range(80):
        steps = dataset[position][0][0].tolist()
        starts.add(steps[0])
        assert steps == [(steps[0] + place) % STEPS for place in range(5)]
    assert starts == set(range(STEPS))


def test_a_shifted_piece_comes_with_what_surrounds_it() -> None:
    alone, surrounded = dataset_of(Augmentation(shift=True), 3), dataset_of(Augmentation(shift=True), 3, 9)
    assert (alone.margin, surrounded.margin, dataset_of(UNCHANGED, 3, 9).margin) == (0, 9, 0)
    for position in range(20):
        first = int(alone[position][0][0, 0])
        assert surrounded[position][0][0].tolist() == [(first + place) % STEPS for place in range(-9, 3 + 9)]


def test_mixed_pieces_have_their_labels_in_the_same_proportion() -> None:
    dataset = dataset_of(Augmentation(mix=1.0), 4)
    shares = []
    for position in range(40):
        steps, targets = dataset[position]
        assert float(targets.sum()) == 1
        # The second channel is 4 and 9 in this proportion.
        np.testing.assert_allclose(float(steps[1, 0]), 4 * targets[0] + 9 * targets[1], rtol=1e-5)
        shares.append(float(targets[0]))
    assert min(shares) < 0.3
    assert max(shares) > 0.7
