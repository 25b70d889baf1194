"""Fourier transforms in products of matrices, for engines whose own are inexact or missing.

ONNX Runtime transforms lengths that are no power of two with errors of a hundredth (1.32; see `findings/`), and other
engines know no complex numbers. A transform of `a * b` samples is two products here, with matrices of a x a and b x b
(Cooley and Tukey, 1965); errors are those of float32.
"""

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

MAX_FACTOR = 4096
"""Lengths that have a greater prime factor are left to the engine: matrices of it would take more than 64 MB."""


def rfft(waveform: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """Transform as `torch.fft.rfft` does, over a last dimension that is no power of two."""
    samples = waveform.shape[-1] if n is None else n
    if _is_left(samples, dim, norm) or samples != waveform.shape[-1]:
        left: Tensor = torch.fft.rfft(waveform, samples, dim, norm)
        return left
    rows, columns = _factors(samples)
    kept = samples // 2 // rows + 1
    """So many columns of the result hold the frequencies up to half the rate."""
    parts = waveform.reshape(*waveform.shape[:-1], rows, columns).transpose(-1, -2)
    found = _linear((parts, None), _matrix(_exponents(rows, rows) / rows))
    found = _product(found, _matrix(_exponents(columns, rows) / samples))
    found = _linear(_turn(found), _matrix(_exponents(kept, columns) / columns))
    return torch.complex(*(part.flatten(-2)[..., : samples // 2 + 1] for part in _turn(found)))


def irfft(spectrum: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """Transform back as `torch.fft.irfft` does, to a last dimension that is no power of two."""
    samples = 2 * (spectrum.shape[-1] - 1) if n is None else n
    if _is_left(samples, dim, norm):
        left: Tensor = torch.fft.irfft(spectrum, samples, dim, norm)
        return left
    # Those above half the rate are the mirror image of these, and double them.
    weights = np.full(samples // 2 + 1, 2 / samples, dtype=np.float32)
    weights[0] = 1 / samples
    if samples % 2 == 0:
        weights[-1] = 1 / samples
    rows, columns = _factors(samples)
    parts = []
    for part in (spectrum.real, spectrum.imag):
        kept = part[..., : samples // 2 + 1]
        weighted = kept * torch.from_numpy(weights[: kept.shape[-1]])
        filled = functional.pad(weighted, (0, samples - weighted.shape[-1]))
        parts.append(filled.reshape(*filled.shape[:-1], rows, columns).transpose(-1, -2))
    found = _linear((parts[0], parts[1]), _matrix(-_exponents(rows, rows) / rows))
    found = _product(found, _matrix(-_exponents(columns, rows) / samples))
    real, _ = _linear(_turn(found), _matrix(-_exponents(columns, columns) / columns))
    return real.transpose(-1, -2).flatten(-2)


def stft(
    input: Tensor,
    n_fft: int,
    hop_length: int,
    win_length: int | None = None,
    window: Tensor | None = None,
    center: bool = True,
    pad_mode: str = "reflect",
    normalized: bool = False,
    **others: Any,
) -> Tensor:
    """Transform as `torch.stft` does, windows that are no power of two long as a convolution."""
    how = stft_as_convolution if not _is_left(n_fft) else torch.stft
    return how(input, n_fft, hop_length, win_length, window, center, pad_mode, normalized, **others)


def stft_as_convolution(
    input: Tensor,
    n_fft: int,
    hop_length: int,
    win_length: int | None = None,
    window: Tensor | None = None,
    center: bool = True,
    pad_mode: str = "reflect",
    normalized: bool = False,
    **others: Any,
) -> Tensor:
    """Transform as `torch.stft` does, windows of any length as a convolution."""
    if n_fft > MAX_FACTOR or window is None or win_length not in (None, n_fft) or normalized:
        return torch.stft(input, n_fft, hop_length, win_length, window, center, pad_mode, normalized, **others)
    padded = functional.pad(input[:, None], [n_fft // 2] * 2, mode=pad_mode) if center else input[:, None]
    waves = _matrix(_exponents(n_fft // 2 + 1, n_fft) / n_fft)
    return torch.complex(*(functional.conv1d(padded, (wave * window)[:, None], stride=hop_length) for wave in waves))


def _is_left(samples: int, dim: int = -1, norm: str | None = None) -> bool:
    """Return whether a transform is left to the engine: those of a power of two are exact in each."""
    return samples & (samples - 1) == 0 or _factors(samples)[1] > MAX_FACTOR or dim != -1 or norm is not None


def _factors(samples: int) -> tuple[int, int]:
    """Return two factors that are as near to each other as there are."""
    smaller = next(each for each in range(math.isqrt(samples), 0, -1) if samples % each == 0)
    return smaller, samples // smaller


def _exponents(rows: int, columns: int) -> NDArray[np.float64]:
    return np.outer(np.arange(rows), np.arange(columns)).astype(np.float64)


def _matrix(turns: NDArray[np.float64]) -> tuple[Tensor, Tensor]:
    """Return cosines and sines of angles, in turns against the clock's direction of `exp(-i ...)`."""
    angles = -2 * np.pi * (turns % 1)
    return torch.from_numpy(np.cos(angles).astype(np.float32)), torch.from_numpy(np.sin(angles).astype(np.float32))


def _linear(values: tuple[Tensor, Tensor | None], matrix: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Multiply the last dimension of real and imaginary parts, of which the latter may be none, by a matrix."""
    real, imaginary = (functional.linear(values[0], part) for part in matrix)
    if values[1] is None:
        return real, imaginary
    return real - functional.linear(values[1], matrix[1]), imaginary + functional.linear(values[1], matrix[0])


def _product(left: tuple[Tensor, Tensor], right: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return left[0] * right[0] - left[1] * right[1], left[0] * right[1] + left[1] * right[0]


def _turn(parts: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return parts[0].transpose(-1, -2), parts[1].transpose(-1, -2)
