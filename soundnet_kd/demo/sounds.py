"""The sounds of the demonstration world: ten kinds of event, each made the way the real thing makes it.

Pitch ranges, levels and average spectra of the kinds overlap on purpose (and `recorded` tilts every spectrum at
random), so that a kind is told by how its sound goes on in time: a decay, a glide, a period, an accelerating series.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, sosfilt

Waveform = NDArray[np.float32]
Generator = np.random.Generator


def event_sound(kind: str, seconds: float, sample_rate: int, rng: Generator) -> Waveform:
    """Make the sound of one event, without its surroundings.

    Parameters
    ----------
    kind : str
        One of `EVENT_SOUNDS`.
    seconds : float
        Length of the sound, at least 1 s.
    sample_rate : int
        Samples per second, in Hz.
    rng : numpy.random.Generator
        Draws pitch, tempo, timbre and the number of repetitions.

    Returns
    -------
    (samples,) float32, samples = round(seconds * sample_rate), with its peak at 1.
    """
    sound = EVENT_SOUNDS[kind](round(seconds * sample_rate), sample_rate, rng)
    return (sound / max(float(np.abs(sound).max()), 1e-9)).astype(np.float32)


def _bell(samples: int, sample_rate: int, rng: Generator) -> Waveform:
    """Strike, at leisure, inharmonic partials that decay, the high ones first."""
    strike_hz = _log_uniform(rng, 400, 1300)
    ratios = np.array([0.5, 1.0, 1.2, 1.5, 2.0, 2.7, 3.0, 4.1]) * rng.uniform(0.99, 1.01, 8)
    decay_seconds = rng.uniform(0.5, 1.1) / np.sqrt(ratios)
    level = rng.uniform(0.4, 1.0, 8) / ratios**0.4
    time = _time(2.2, sample_rate)
    angle = 2 * np.pi * strike_hz * ratios[:, None] * time
    strike = (level[:, None] * np.exp(-time / decay_seconds[:, None]) * np.sin(angle)).sum(axis=0)
    onsets = _regular_onsets(samples, sample_rate, rng.uniform(0.9, 2.0), 0.06, rng)
    return _place([strike], onsets, rng.uniform(0.7, 1.0, len(onsets)), samples)


def _bird(samples: int, sample_rate: int, rng: Generator) -> Waveform:
    """Chirp in phrases, each chirp a fast glide of one almost pure tone."""
    low, high = sorted((_log_uniform(rng, 1400, 2400), _log_uniform(rng, 2600, 4200)))
    syllable_seconds = rng.uniform(0.05, 0.12)
    shape = rng.choice([-1.0, 1.0], size=3)
    time = _time(syllable_seconds, sample_rate)
    part = time / syllable_seconds
    chirps = []
    for rise in (part if direction > 0 else 1 - part for direction in shape):
        pitch = low * (high * rng.uniform(0.85, 1.1) / low) ** rise
        chirps.append(np.sin(np.pi * part) * np.sin(_phase(pitch, sample_rate)))
    onsets: list[int] = []
    start = rng.uniform(0, 0.3)
    while start * sample_rate < samples:
        for _ in range(rng.integers(4, 9)):
            onsets.append(int(start * sample_rate))
            start += syllable_seconds * rng.uniform(1.2, 1.6)
        start += rng.uniform(0.25, 0.7)
    return _place(chirps, onsets, rng.uniform(0.6, 1.0, len(onsets)), samples)


def _siren(samples: int, sample_rate: int, rng: Generator) -> Waveform:
    """Sweep a harmonic tone up and down without a pause."""
    low = _log_uniform(rng, 450, 800)
    time = np.arange(samples) / sample_rate
    cycle = (time * rng.uniform(0.4, 1.6) + rng.random()) % 1
    sweep = 0.5 - 0.5 * np.cos(2 * np.pi * cycle)
    phase = _phase(low * rng.uniform(1.7, 2.4) ** sweep, sample_rate)
    brightness = rng.uniform(0.2, 0.7)
    return (np.sin(phase) + brightness * np.sin(2 * phase) + brightness**2 * np.sin(3 * phase)).astype(np.float32)


def _motorbike(samples: int, sample_rate: int, rng: Generator) -> Waveform:
    """Fire a train of explosions, whose rate follows the throttle, through an exhaust pipe."""
    throttle = _slow_curve(samples, sample_rate, rng.uniform(0.8, 2.0), rng)
    firing_hz = _log_uniform(rng, 22, 45) * (1 + rng.uniform(0.3, 1.0) * throttle)
    phase = _phase(firing_hz, sample_rate)
    turn = (phase / (2 * np.pi)) % 1
    explosion = np.exp(-turn * rng.uniform(6, 14)) * (1 + 0.4 * np.sin(phase / 2))
    roar = explosion * (0.6 + rng.standard_normal(samples)) * (0.6 + 0.4 * throttle)
    return _band(roar, 70, _log_uniform(rng, 900, 2600), sample_rate)


def _clock(samples: int, sample_rate: int, rng: Generator) -> Waveform:
    """Alternate two sharp ticks in strict time."""
    pitch_hz = _log_uniform(rng, 1300, 3500)
    time = _time(0.08, sample_rate)
    grains = []
    for ratio in (1.0, rng.uniform(0.72, 0.88)):
        tone = np.sin(2 * np.pi * pitch_hz * ratio * time) + 0.6 * np.sin(2 * np.pi * 2.3 * pitch_hz * ratio * time)
        grains.append((tone + 0.5 * rng.standard_normal(time.size)) * np.exp(-time / rng.uniform(0.006, 0.014)))
    onsets = _regular_onsets(samples, sample_rate, rng.uniform(0.2, 0.5), 0.0, rng)
    return _place(grains, onsets, np.ones(len(onsets)), samples)


def _dog(samples: int, sample_rate: int, rng: Generator) -> Waveform:
    """Bark in groups, with a rough harmonic voice that jumps up and falls, through a throat."""
    voice_hz = _log_uniform(rng, 260, 620)
    barks = []
    for _ in range(3):
        length = rng.uniform(0.13, 0.24)
        time = _time(length, sample_rate)
        part = time / length
        phase = _phase(voice_hz * rng.uniform(0.95, 1.05) * (0.75 + 0.7 * np.sin(np.pi * part**0.6)), sample_rate)
        voice = sum(np.sin(order * phase) / order**0.6 for order in range(1, 9))
        rough = voice + 0.7 * rng.standard_normal(time.size)
        barks.append(rough * np.sin(np.pi * part**0.5) ** 1.5)
    onsets: list[int] = []
    start = rng.uniform(0, 0.4)
    while start * sample_rate < samples:
        for _ in range(rng.integers(1, 4)):
            onsets.append(int(start * sample_rate))
            start += rng.uniform(0.28, 0.4)
        start += rng.uniform(0.3, 0.9)
    bark = _place(barks, onsets, rng.uniform(0.7, 1.0, len(onsets)), samples)
    return _band(bark, 250, _log_uniform(rng, 1500, 3000), sample_rate)


def _whistle(samples: int, sample_rate: int, rng: Generator) -> Waveform:
    """Blow blasts of one held tone that the pea inside makes to tremble."""
    time = np.arange(samples) / sample_rate
    tremble = np.sin(2 * np.pi * rng.uniform(18, 38) * time)
    phase = _phase(_log_uniform(rng, 1300, 3400) * (1 + rng.uniform(0.02, 0.05) * tremble), sample_rate)
    tone = np.sin(phase) + 0.2 * np.sin(2 * phase) + 0.15 * rng.standard_normal(samples)
    blowing = np.zeros(samples)
    start = rng.uniform(0, 0.3)
    while start * sample_rate < samples:
        stop = start + rng.uniform(0.35, 1.1)
        blowing[int(start * sample_rate) : int(stop * sample_rate)] = 1
        start = stop + rng.uniform(0.15, 0.5)
    smooth = sosfilt(butter(1, 15, fs=sample_rate, output="sos"), blowing)
    return np.asarray(tone * smooth * (0.7 + 0.3 * tremble), dtype=np.float32)


def _drum(samples: int, sample_rate: int, rng: Generator) -> Waveform:
    """Hit a membrane, whose pitch drops after each hit, in a repeated rhythm."""
    time = _time(0.45, sample_rate)
    pitch = _log_uniform(rng, 75, 190) * (1 + 1.2 * np.exp(-time / 0.03))
    membrane = np.sin(_phase(pitch, sample_rate)) * np.exp(-time / rng.uniform(0.09, 0.2))
    stick = _band(rng.standard_normal(time.size), 300, 4000, sample_rate) * np.exp(-time / rng.uniform(0.01, 0.03))
    hit = membrane + rng.uniform(0.3, 0.9) * stick
    eighth_seconds = rng.uniform(0.17, 0.28)
    rhythm = rng.random(8) < 0.5
    rhythm[0] = True
    accents = rng.uniform(0.5, 1.0, 8)
    steps = np.arange(int(samples / sample_rate / eighth_seconds) + 1)
    played = steps[rhythm[steps % 8]]
    return _place([hit], (played * eighth_seconds * sample_rate).astype(int), accents[played % 8], samples)


def _ball(samples: int, sample_rate: int, rng: Generator) -> Waveform:
    """Knock faster and softer until the ball comes to rest; then drop it again."""
    time = _time(0.15, sample_rate)
    pitch_hz = _log_uniform(rng, 250, 1100)
    knock = np.sin(2 * np.pi * pitch_hz * time) + 0.7 * np.sin(2 * np.pi * 1.7 * pitch_hz * time)
    knock = (knock + 0.6 * rng.standard_normal(time.size)) * np.exp(-time / rng.uniform(0.012, 0.03))
    restitution = rng.uniform(0.72, 0.85)
    onsets: list[int] = []
    level: list[float] = []
    start = rng.uniform(0, 0.3)
    while start * sample_rate < samples:
        gap, strength = rng.uniform(0.35, 0.6), 1.0
        while gap > 0.025:
            onsets.append(int(start * sample_rate))
            level.append(strength)
            start += gap
            gap *= restitution
            strength *= restitution**0.7
        start += rng.uniform(0.2, 0.5)
    return _place([knock], onsets, level, samples)


def _saw(samples: int, sample_rate: int, rng: Generator) -> Waveform:
    """Rasp to and fro, each stroke of noise chopped by the teeth, whose rate follows the blade's speed."""
    time = np.arange(samples) / sample_rate
    stroke = 2 * np.pi * (time * rng.uniform(0.8, 1.7) + rng.random())
    speed = np.abs(np.sin(stroke))
    teeth = 1 + np.sin(_phase(40 + rng.uniform(120, 260) * speed, sample_rate))
    forth_louder = np.where(np.sin(stroke) > 0, 1.0, rng.uniform(0.5, 0.9))
    rasp = rng.standard_normal(samples) * teeth * speed**1.5 * forth_louder
    centre = _log_uniform(rng, 900, 3000)
    return _band(rasp, centre / 2, centre * 2, sample_rate)


EVENT_SOUNDS: dict[str, Callable[[int, int, Generator], Waveform]] = {
    "bell": _bell,
    "bird": _bird,
    "siren": _siren,
    "motorbike": _motorbike,
    "clock": _clock,
    "dog": _dog,
    "whistle": _whistle,
    "drum": _drum,
    "ball": _ball,
    "saw": _saw,
}


def _time(seconds: float, sample_rate: int) -> NDArray[np.float64]:
    return np.arange(round(seconds * sample_rate)) / sample_rate


def _phase(pitch_hz: NDArray[np.float64], sample_rate: int) -> NDArray[np.float64]:
    return 2 * np.pi * np.cumsum(pitch_hz) / sample_rate


def _log_uniform(rng: Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _band(sound: NDArray[np.float64] | Waveform, low_hz: float, high_hz: float, sample_rate: int) -> Waveform:
    sections = butter(1, (low_hz, high_hz), btype="bandpass", fs=sample_rate, output="sos")
    return np.asarray(sosfilt(sections, sound), dtype=np.float32)


def _slow_curve(samples: int, sample_rate: int, knot_seconds: float, rng: Generator) -> NDArray[np.float64]:
    """Wander between 0 and 1, with a new random goal every `knot_seconds`."""
    knots = rng.random(int(samples / sample_rate / knot_seconds) + 3)
    return np.interp(np.arange(samples) / (sample_rate * knot_seconds), np.arange(knots.size), knots)


def _regular_onsets(samples: int, sample_rate: int, period_seconds: float, jitter: float, rng: Generator) -> list[int]:
    times = np.arange(rng.uniform(0, period_seconds), samples / sample_rate, period_seconds)
    times = times + period_seconds * jitter * rng.uniform(0, 1, times.size)
    return [int(time * sample_rate) for time in times]


def _place(
    grains: Sequence[NDArray[np.float64] | Waveform],
    onsets: Sequence[int] | NDArray[np.int_],
    levels: Sequence[float] | NDArray[np.float64],
    samples: int,
) -> Waveform:
    """Add the grains, in turn, at their onsets; what reaches beyond the end is cut off."""
    sound = np.zeros(samples, dtype=np.float32)
    for index, (onset, level) in enumerate(zip(onsets, levels, strict=True)):
        grain = grains[index % len(grains)][: max(samples - onset, 0)]
        sound[onset : onset + grain.size] += level * grain
    return sound
