"""Fourier transforms in products of matrices are those of NumPy, as far as float32 goes."""

import numpy as np
import pytest
import torch

from soundnet_kd.inference import fourier


@pytest.mark.parametrize("samples", [12, 15, 97, 160, 1_024, 16_000, 64_000])
def test_there_and_back(samples: int) -> None:
    rng = np.random.default_rng(0)
    waveform = rng.normal(size=(2, 1, samples)).astype(np.float32)
    expected = np.fft.rfft(waveform.astype(np.float64))
    spectrum = fourier.rfft(torch.from_numpy(waveform))
    np.testing.assert_allclose(spectrum.numpy(), expected, rtol=0, atol=1e-6 * np.abs(expected).max())
    # Shorter, as long, and longer than what was transformed.
    for wanted in (samples // 2, samples, 2 * samples + 1):
        kept = expected[..., : wanted // 2 + 1]
        found = fourier.irfft(torch.from_numpy(kept.astype(np.complex64)), wanted)
        back = np.fft.irfft(kept, wanted)
        np.testing.assert_allclose(found.numpy(), back, rtol=0, atol=2e-6 * np.abs(back).max())


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize(("window", "step"), [(160, 80), (128, 50), (301, 7)])
def test_windows(window: int, step: int, center: bool) -> None:
    rng = np.random.default_rng(0)
    waveform, form = rng.normal(size=2_000), np.hanning(window)
    found = fourier.stft(
        torch.from_numpy(waveform.astype(np.float32))[None],
        window,
        step,
        window=torch.from_numpy(form.astype(np.float32)),
        center=center,
        pad_mode="constant",
        return_complex=True,
    )
    padded = np.pad(waveform, window // 2 if center else 0)
    pieces = np.lib.stride_tricks.sliding_window_view(padded, window)[::step] * form
    expected = np.fft.rfft(pieces).T
    np.testing.assert_allclose(found[0].numpy(), expected, rtol=0, atol=1e-6 * np.abs(expected).max())
