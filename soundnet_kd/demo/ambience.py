"""The ambience of each scene of the demonstration world, and the way a microphone colours what it hears."""

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft, rfftfreq

from soundnet_kd.demo.sounds import Generator, Waveform

SCENE_NAMES = ("street", "forest", "seaside", "kitchen")


def scene_sound(scene: str, seconds: float, sample_rate: int, rng: Generator) -> Waveform:
    """Make the ambience of a scene: noise of the scene's own colour and swell, and in the kitchen a hum.

    Parameters
    ----------
    scene : str
        One of `SCENE_NAMES`.
    seconds : float
        Length of the sound.
    sample_rate : int
        Samples per second, in Hz.
    rng : numpy.random.Generator
        Draws colour, tempo and pitch.

    Returns
    -------
    (samples,) float32, samples = round(seconds * sample_rate), with its peak at 1.
    """
    samples = round(seconds * sample_rate)
    time = np.arange(samples) / sample_rate
    noise = rng.standard_normal(samples, dtype=np.float32)
    start = 2 * np.pi * rng.random(3)
    if scene == "street":
        passing = np.sin(2 * np.pi * rng.uniform(0.08, 0.2) * time + start[0])
        sound = _shaped(noise, rng.uniform(60, 120), 500, sample_rate) * (1 + 0.5 * passing)
    elif scene == "forest":
        gusts = np.sin(2 * np.pi * rng.uniform(0.3, 0.5) * time + start[0]) * np.sin(2 * np.pi * 0.7 * time + start[1])
        rustle = 1 + 0.4 * np.sin(2 * np.pi * rng.uniform(5, 9) * time + start[2])
        sound = _shaped(noise, rng.uniform(2000, 3000), 9000, sample_rate) * (1 + 0.5 * gusts) * rustle
    elif scene == "seaside":
        wave = (time * rng.uniform(0.18, 0.35) + start[0]) % 1
        breaking = np.where(wave < 0.2, wave / 0.2, np.exp(-(wave - 0.2) * 4))
        sound = _shaped(noise, rng.uniform(300, 500), 2500, sample_rate) * (0.1 + breaking)
    elif scene == "kitchen":
        mains_hz = rng.choice([50.0, 60.0]) * 2
        hum = sum(rng.uniform(0.4, 1.0) / order * np.sin(2 * np.pi * mains_hz * order * time) for order in range(1, 7))
        sound = 0.5 * hum + _shaped(noise, rng.uniform(150, 250), 1200, sample_rate) * 0.4
    else:
        raise KeyError(scene)
    return np.asarray(sound / max(np.abs(sound).max(), 1e-9), dtype=np.float32)


def rumble(seconds: float, sample_rate: int, rng: Generator) -> Waveform:
    """Make the rumble of wind and of the hand at a microphone: strong, in gusts, and all of it below about 90 Hz.

    Parameters
    ----------
    seconds : float
    sample_rate : int
        Samples per second, in Hz.
    rng : numpy.random.Generator

    Returns
    -------
    (samples,) float32, samples = round(seconds * sample_rate), of root mean square 1
    """
    samples = round(seconds * sample_rate)
    size = next_fast_len(samples)
    frequency = rfftfreq(size, 1 / sample_rate)
    edge_hz = rng.uniform(40, 60)
    spectrum = np.zeros(frequency.size, dtype=np.complex64)
    heard = np.count_nonzero(frequency < 4 * edge_hz)
    gain = frequency[:heard] / (frequency[:heard] + 15) / (1 + (frequency[:heard] / edge_hz) ** 8)
    spectrum[:heard] = gain * (rng.standard_normal(heard) + 1j * rng.standard_normal(heard))
    gusts = 1 + 0.7 * np.sin(2 * np.pi * (rng.uniform(0.1, 0.4) * np.arange(samples) / sample_rate + rng.random()))
    sound = irfft(spectrum, size)[:samples] * gusts
    return np.asarray(sound / sound.std(), dtype=np.float32)


def recorded(sound: Waveform, sample_rate: int, rng: Generator, tilt_db: float = 2.0) -> Waveform:
    """Colour a sound as some microphone would: a spectral tilt of up to `tilt_db` per octave around 1 kHz.

    Parameters
    ----------
    sound : (samples,) float32
    sample_rate : int
        Samples per second, in Hz.
    rng : numpy.random.Generator
    tilt_db : float
        Largest tilt, either way, in dB per octave.

    Returns
    -------
    (samples,) float32, of the same root mean square as `sound`.
    """
    size = next_fast_len(sound.size)
    octaves = np.log2(np.maximum(rfftfreq(size, 1 / sample_rate), 60) / 1000)
    gain = (10 ** (rng.uniform(-tilt_db, tilt_db) * octaves / 20)).astype(np.float32)
    coloured = irfft(rfft(sound, size) * gain, size)[: sound.size]
    return np.asarray(coloured * (_rms(sound) / max(_rms(coloured), 1e-9)), dtype=np.float32)


def loudness(sound: Waveform, sample_rate: int) -> float:
    """Measure how loud a sound is while it sounds: the root mean square of its loudest tenth, in pieces of 50 ms.

    Silence between repetitions does not lower it, and a click of a few milliseconds does not rule it.

    Parameters
    ----------
    sound : (samples,) float32, at least 50 ms
    sample_rate : int
        Samples per second, in Hz.

    Returns
    -------
    float, in the sound's own unit
    """
    piece = sample_rate // 20
    power = np.square(sound[: sound.size // piece * piece].reshape(-1, piece)).mean(axis=1)
    loudest = np.sort(power)[-max(power.size // 10, 1) :]
    return float(np.sqrt(loudest.mean()))


def _shaped(noise: np.ndarray, low_hz: float, high_hz: float, sample_rate: int) -> np.ndarray:
    """Return white noise a band with soft edges, 12 dB per octave below and 6 above, and unit root mean square."""
    size = next_fast_len(noise.size)
    frequency = rfftfreq(size, 1 / sample_rate)
    gain = (frequency**2 / (frequency**2 + low_hz**2) / np.sqrt(1 + (frequency / high_hz) ** 2)).astype(np.float32)
    shaped = irfft(rfft(noise, size) * gain, size)[: noise.size]
    return np.asarray(shaped / shaped.std())


def _rms(sound: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(sound, dtype=np.float64))))
