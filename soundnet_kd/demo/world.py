"""A small world whose pictures and sounds belong together, made from nothing, so that a whole run can be shown.

Ten kinds of event happen in four kinds of scene. `plan_videos` says what happens in each video, and
`make_video_arrays` turns one such plan into frames and a soundtrack. The same plan gives the same arrays, in whatever
order or process the videos are made: each draws from its own stream, named by its seed.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from soundnet_kd.demo.ambience import SCENE_NAMES, loudness, recorded, rumble, scene_sound
from soundnet_kd.demo.backgrounds import Picture
from soundnet_kd.demo.scene import Scene, cast, poses_of
from soundnet_kd.demo.sounds import EVENT_SOUNDS, Generator, Waveform, event_sound
from soundnet_kd.errors import SettingsError

EVENTS: tuple[str, ...] = tuple(EVENT_SOUNDS)
SCENES: tuple[str, ...] = SCENE_NAMES

SAMPLE_RATE = 22050
FRAME_RATE = 2.0
FRAME_SIZE = 96
STEP_SECONDS = 5.0
EVENT_OVER_AMBIENCE_DB = (8.0, 20.0)
RUMBLE_OVER_AMBIENCE_DB = (10.0, 28.0)
PEAK_LEVEL = (0.25, 0.9)
SOUND, AMBIENCE, PICTURE = range(3)  # Streams of a scenario: what one draws does not shift the others.


@dataclass(frozen=True)
class Scenario:
    """What happens in one video.

    Parameters
    ----------
    events : tuple of str
        Names from `EVENTS`, one after the other, of equal length up to a cut at a whole multiple of `STEP_SECONDS`.
    scene : str
        A name from `SCENES`.
    seconds : float
        Length of the video.
    seed : int
        Names the stream of random numbers that everything else is drawn from; not negative.

    Raises
    ------
    SettingsError
        If a name is unknown or there is less than one step of `STEP_SECONDS` for each of several events.
    """

    events: tuple[str, ...]
    scene: str
    seconds: float = 20.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be made."""
        for name, known in [*((event, EVENTS) for event in self.events), (self.scene, SCENES)]:
            if name not in known:
                raise SettingsError(f"the demonstration world has no {name!r}; choose from {', '.join(known)}")
        if not self.events or (len(self.events) > 1 and self.seconds < STEP_SECONDS * len(self.events)):
            found = f"{len(self.events)} events in {self.seconds:g} s"
            raise SettingsError(f"{found}; give at least one event, and {STEP_SECONDS:g} s for each of several")

    @property
    def spans(self) -> tuple[tuple[str, float, float], ...]:
        """Each event with its start and its end, in seconds."""
        steps = int(self.seconds // STEP_SECONDS)
        count = len(self.events)
        cuts = [0.0, *(STEP_SECONDS * (steps * part // count) for part in range(1, count)), self.seconds]
        return tuple(zip(self.events, cuts[:-1], cuts[1:], strict=True))

    def event_at(self, seconds: float) -> str:
        """Name the event that is going on at a time; at a cut it is the later one."""
        return [event for event, start, _ in self.spans if start <= seconds or start == 0][-1]


def plan_videos(count: int, seed: int, seconds: float = 20.0, two_events: float = 1.0) -> list[Scenario]:
    """Plan a collection of videos in which every event and every scene comes up about equally often.

    Parameters
    ----------
    count : int
        Number of videos.
    seed : int
        The same seed plans the same videos; other seeds give videos with nothing in common.
    seconds : float
        Length of each video.
    two_events : float
        Share of the videos that hold two events instead of one.

    Returns
    -------
    list of Scenario, length `count`
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed).spawn(1)[0])
    events = np.concatenate([rng.permutation(EVENTS) for _ in range(2 * count // len(EVENTS) + 1)]).tolist()
    scenes = np.concatenate([rng.permutation(SCENES) for _ in range(count // len(SCENES) + 1)]).tolist()
    seeds = rng.integers(0, 2**62, count).tolist()
    doubled = rng.permutation(np.arange(count) < round(two_events * count)).tolist()
    plans = []
    for index in range(count):
        taken, events = events[: 1 + doubled[index]], events[1 + doubled[index] :]
        plans.append(Scenario(tuple(taken), scenes[index], seconds, seeds[index]))
    return plans


def plan_labelled(per_event: int, seed: int, seconds: float = STEP_SECONDS) -> list[Scenario]:
    """Plan short scenarios of one event each, whose name is the label of their sound or their frame.

    Parameters
    ----------
    per_event : int
        Scenarios of each event.
    seed : int
        As in `plan_videos`; labelled scenarios have nothing in common with videos of the same seed.
    seconds : float
        Length of each.

    Returns
    -------
    list of Scenario, length per_event * len(EVENTS), in rounds that go through all events
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed).spawn(2)[1])
    events = EVENTS * per_event
    scenes = rng.choice(SCENES, len(events)).tolist()
    seeds = rng.integers(0, 2**62, len(events)).tolist()
    return [Scenario((event,), scene, seconds, own) for event, scene, own in zip(events, scenes, seeds, strict=True)]


def make_video_arrays(
    scenario: Scenario, frame_rate: float = FRAME_RATE, size: int = FRAME_SIZE, sample_rate: int = SAMPLE_RATE
) -> tuple[Iterator[Picture], float, Waveform, int]:
    """Make a scenario's frames and soundtrack.

    Parameters
    ----------
    scenario : Scenario
    frame_rate : float
        Frames per second.
    size : int
        Side of a frame, in pixels.
    sample_rate : int
        Samples per second, in Hz.

    Returns
    -------
    frames : iterator of (size, size, 3) uint8
        Drawn one at a time, as they are asked for.
    frame_rate : float
    waveform : (samples,) float32 in ±1
    sample_rate : int
    """
    sounds = _event_sounds(scenario, sample_rate)
    waveform = _over_ambience(scenario, sounds, sample_rate)
    return _frames(scenario, sounds, frame_rate, size, sample_rate), frame_rate, waveform, sample_rate


def make_soundtrack(scenario: Scenario, sample_rate: int = SAMPLE_RATE) -> Waveform:
    """Make a scenario's sound: its events, each as some microphone hears it, over the ambience of its scene.

    Parameters
    ----------
    scenario : Scenario
    sample_rate : int
        Samples per second, in Hz.

    Returns
    -------
    (samples,) float32, with its peak between 0.25 and 0.9
    """
    return _over_ambience(scenario, _event_sounds(scenario, sample_rate), sample_rate)


def make_frame(scenario: Scenario, size: int = FRAME_SIZE) -> Picture:
    """Draw a single frame of a scenario's first event, in a pose of its own, without making any sound.

    Parameters
    ----------
    scenario : Scenario
    size : int
        Side of the frame, in pixels.

    Returns
    -------
    (size, size, 3) uint8
    """
    rng = _stream(scenario, PICTURE)
    stage = Scene(scenario.scene, size, rng)
    actor = cast(scenario.events[0], size, rng)
    return stage.frame(actor, rng.uniform(-1, 1), rng.uniform(0, scenario.seconds), rng)


def _stream(scenario: Scenario, purpose: int) -> Generator:
    return np.random.default_rng((scenario.seed, purpose))


def _event_sounds(scenario: Scenario, sample_rate: int) -> list[Waveform]:
    """Make each event's sound, as recorded, all equally loud."""
    rng = _stream(scenario, SOUND)
    sounds = []
    for event, start, stop in scenario.spans:
        sound = event_sound(event, stop - start, sample_rate, rng)
        sound = recorded(sound, sample_rate, rng)
        sounds.append((sound / loudness(sound, sample_rate)).astype(np.float32))
    return sounds


def _over_ambience(scenario: Scenario, sounds: list[Waveform], sample_rate: int) -> Waveform:
    rng = _stream(scenario, AMBIENCE)
    ambience = scene_sound(scenario.scene, scenario.seconds, sample_rate, rng)
    levels = 10 ** (rng.uniform(*EVENT_OVER_AMBIENCE_DB, len(sounds)) / 20)
    event = np.concatenate([sound * level for sound, level in zip(sounds, levels, strict=True)])
    wind = rumble(scenario.seconds, sample_rate, rng) * 10 ** (rng.uniform(*RUMBLE_OVER_AMBIENCE_DB) / 20)
    mixed = event[: ambience.size] + ambience / ambience.std() + wind
    peak = np.exp(rng.uniform(*np.log(PEAK_LEVEL)))
    return np.asarray(mixed * (peak / np.abs(mixed).max()), dtype=np.float32)


def _frames(
    scenario: Scenario, sounds: list[Waveform], frame_rate: float, size: int, sample_rate: int
) -> Iterator[Picture]:
    rng = _stream(scenario, PICTURE)
    stage = Scene(scenario.scene, size, rng)
    actors = [cast(event, size, rng) for event in scenario.events]
    poses = [poses_of(sound, sample_rate, frame_rate) for sound in sounds]
    starts = [start for _, start, _ in scenario.spans]
    for index in range(round(scenario.seconds * frame_rate)):
        seconds = index / frame_rate
        act = max(part for part, start in enumerate(starts) if start <= seconds)
        since = seconds - starts[act]
        pose = poses[act][min(int(since * frame_rate), poses[act].size - 1)]
        yield stage.frame(actors[act], float(pose), since, rng)
