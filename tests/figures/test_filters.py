"""Frequency responses, against scipy and filters whose response is known."""

from pathlib import Path

import numpy as np
import pytest
from scipy import signal

from soundnet_kd.figures.filters import centre_frequencies, draw_filters, frequency_responses


def test_responses_are_those_of_scipy() -> None:
    filters = np.random.default_rng(0).normal(size=(5, 64))
    hertz, decibels = frequency_responses(filters, 22_050)
    assert (hertz[0], hertz[-1], decibels.shape) == (0, 11_025, (5, 513))
    for taps, found in zip(filters, decibels, strict=True):
        _, response = signal.freqz(taps, worN=hertz, fs=22_050)
        np.testing.assert_allclose(found, 20 * np.log10(np.abs(response)), atol=1e-6)


def test_known_filters() -> None:
    """The sum of two samples lets 0 Hz through doubled (6.02 dB), their difference half the sample rate."""
    hertz, decibels = frequency_responses(np.array([[1.0, 1.0], [1.0, -1.0], [0.0, 0.0]]), 8000)
    np.testing.assert_array_equal(centre_frequencies(hertz, decibels)[:2], [0, 4000])
    assert decibels[0, 0] == pytest.approx(6.0206, abs=1e-4)
    # A quarter of the sample rate: sqrt(2).
    assert decibels[0, 256] == pytest.approx(3.0103, abs=1e-4)
    np.testing.assert_array_equal(decibels[2], -240)


def test_windowed_sines_are_centred_where_they_swing() -> None:
    times = np.arange(64) / 22_050
    wanted = np.array([4000.0, 700.0, 2000.0])
    filters = np.sin(2 * np.pi * wanted[:, None] * times) * np.hanning(64)
    hertz, decibels = frequency_responses(filters, 22_050)
    np.testing.assert_allclose(centre_frequencies(hertz, decibels), wanted, atol=40)


@pytest.mark.parametrize("shape", [(16, 64), (10, 4), (3, 2000)])
def test_any_number_of_filters_is_drawn(shape: tuple[int, int], tmp_path: Path) -> None:
    draw_filters(np.random.default_rng(0).normal(size=shape), 16_000, "conv1", tmp_path / "filters.png")
    assert (tmp_path / "filters.png").read_bytes().startswith(b"\x89PNG")
    # Every filter has its wave's title and its row among the responses.
    drawn = (tmp_path / "filters.svg").read_text(encoding="utf-8")
    assert drawn.count(" Hz<") == shape[0]


@pytest.mark.real
def test_the_released_filters_are_centred_where_scipy_finds_them(real_data: Path) -> None:
    file = real_data / "soundnet_reference" / "soundnet8_conv1_conv2_conv3part.npz"
    filters = np.load(file)["conv1_kernel"][:, 0].T
    assert filters.shape == (16, 64)
    hertz, decibels = frequency_responses(filters, 22_050)
    centres = centre_frequencies(hertz, decibels)
    for index, taps in enumerate(filters):
        frequencies, response = signal.freqz(taps.astype(float), worN=4096, fs=22_050)
        assert centres[index] == pytest.approx(frequencies[np.abs(response).argmax()], abs=22_050 / 1024 / 2 + 1)
