"""What a sound goes through before a network for clips hears it."""

from dataclasses import asdict

import numpy as np
import pytest
import torch

from soundnet_kd.errors import EmptyAudioError, SettingsError
from soundnet_kd.models import ClipPreprocessing, Preprocessing


def test_short_sounds_are_followed_by_silence_and_long_ones_cut() -> None:
    asked = ClipPreprocessing(least_samples=5, amplitude=2)
    assert asked(np.array([1, -1, 0.5], np.float32)).tolist() == [[2, -2, 1, 0, 0]]
    assert asked(np.array([1, 0, 0, 0, 1, 1, 1], np.float32)).tolist() == [[2, 0, 0, 0, 2]]
    assert asked(np.array([2**14, -(2**15)], np.int16)).tolist() == [[1, -2, 0, 0, 0]]
    open_ended = ClipPreprocessing(least_samples=5, exact=False)
    assert open_ended(np.ones(7, np.float32)).shape == (1, 7)
    assert open_ended(np.ones(3, np.float32)).tolist() == [[1, 1, 1, 0, 0]]


def test_a_sound_is_standardised_before_it_is_filled_up() -> None:
    """By hand: 1, 2, 3 have mean 2 and standard deviation sqrt(2 / 3)."""
    asked = ClipPreprocessing(least_samples=5, exact=False, standardise=True)
    expected = [-np.sqrt(1.5), 0, np.sqrt(1.5), 0, 0]
    np.testing.assert_allclose(asked(np.array([0.1, 0.2, 0.3], np.float32))[0], expected, atol=1e-5)
    assert asked(np.full(5, 0.3, np.float32)).tolist() == [[0, 0, 0, 0, 0]]


def test_each_sound_of_a_batch_is_standardised_alone() -> None:
    asked = ClipPreprocessing(least_samples=100, standardise=True)
    batch = torch.randn(3, 1, 100) * torch.tensor([1e-3, 1, 30])[:, None, None] + 0.5
    batch[2] = 0
    scaled = asked.scale(batch)
    np.testing.assert_allclose(scaled.mean(dim=-1), np.zeros((3, 1)), atol=1e-4)
    np.testing.assert_allclose(scaled.std(dim=-1, correction=0), [[1], [1], [0]], rtol=1e-3)


def test_a_cut_sound_is_standardised_as_it_is_heard() -> None:
    asked = ClipPreprocessing(least_samples=3, standardise=True)
    np.testing.assert_array_equal(asked(np.array([1, 2, 3, 100], np.float32)), asked(np.array([1, 2, 3], np.float32)))


def test_impossible_input_is_refused() -> None:
    with pytest.raises(EmptyAudioError):
        ClipPreprocessing()(np.zeros(0, np.float32))
    with pytest.raises(SettingsError, match="the waveform is int64"):
        ClipPreprocessing()(np.zeros(5, np.int64))
    with pytest.raises(SettingsError, match="least_samples is 0"):
        ClipPreprocessing(least_samples=0)


def test_what_students_are_written_with_is_what_it_was() -> None:
    """Files of students and caches hold these; another key would make them unreadable to either version."""
    assert asdict(Preprocessing()) == {
        "sample_rate": 22_050,
        "amplitude": 256.0,
        "channel": "first",
        "least_samples": 441_000,
    }
