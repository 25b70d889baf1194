"""The same sound in every type that can hold it: the same features through every door, or a refusal with a cure.

Expected are the features of the float32 sound; what a type rounds away is worked out by hand.
"""

import array
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from soundnet_kd import SoundNet8
from soundnet_kd.errors import EmptyAudioError, MediaError, SettingsError, TooShortError
from soundnet_kd.interfaces.hear import HearModel, get_scene_embeddings, get_timestamp_embeddings
from soundnet_kd.interfaces.scikit_learn import SoundNetFeatures
from soundnet_kd.media import as_float, read_audio, write_audio
from soundnet_kd.models import ClipPreprocessing, Preprocessing

LEVELS = np.round(0.3 * 2**15 * np.sin(np.arange(4000) / 8)).astype(np.int16)
SOUND = LEVELS.astype(np.float32) / 2**15

torch.manual_seed(0)
STUDENT = SoundNet8({"objects": 2}, Preprocessing(least_samples=256)).eval()
HEAR = HearModel(SoundNet8({"objects": 2}, Preprocessing(least_samples=40_000)))

DOORS: dict[str, Callable[[Any], NDArray[Any]]] = {
    "as_float": as_float,
    "SoundNet's preprocessing": lambda sound: STUDENT.preprocessing(sound).numpy(),
    "a clip's preprocessing": lambda sound: ClipPreprocessing(least_samples=4000)(sound).numpy(),
    "scale": lambda sound: STUDENT.preprocessing.scale(sound).detach().numpy(),
    "scikit-learn": lambda sound: SoundNetFeatures(STUDENT, "conv2", device="cpu").fit_transform([sound]),
    "HEAR's scenes": lambda sound: get_scene_embeddings(batch_of(sound), HEAR).detach().numpy(),
    "HEAR's timestamps": lambda sound: get_timestamp_embeddings(batch_of(sound), HEAR)[0].detach().numpy(),
}

DITHER = np.random.default_rng(0).integers(-2, 3, 4000).astype(np.int16)
"""Digital silence: a recording of nothing, in the smallest steps of a type."""

SAME: dict[str, tuple[Any, float]] = {
    "float64": (SOUND.astype(np.float64), 0),
    "big-endian float": (SOUND.astype(">f4"), 0),
    "big-endian int16": (LEVELS.astype(">i2"), 0),
    "float16": (SOUND.astype(np.float16), 2**-12),
    "int16": (LEVELS, 0),
    "int8": (np.round(SOUND * 2**7).astype(np.int8), 2**-8),
    "uint8": ((np.round(SOUND * 2**7) + 2**7).astype(np.uint8), 2**-8),
    "array of C": (array.array("h", LEVELS.tolist()), 0),
    "list of floats": (SOUND.tolist(), 0),
    "objects": (SOUND.astype(object), 0),
    "not contiguous": (np.repeat(SOUND, 3)[::3], 0),
    "backwards in memory": (SOUND[::-1].copy()[::-1], 0),
    "tensor": (torch.tensor(SOUND), 0),
    "tensor of double": (torch.tensor(SOUND).double(), 0),
    "tensor of half": (torch.tensor(SOUND).half(), 2**-12),
    "tensor of bfloat16": (torch.tensor(SOUND).bfloat16(), 2**-9),
    "tensor of int16": (torch.tensor(LEVELS), 0),
    "tensor of uint8": (torch.tensor((np.round(SOUND * 2**7) + 2**7).astype(np.uint8)), 2**-8),
    "tensor that learns": (torch.tensor(SOUND, requires_grad=True), 0),
}

QUIET: dict[str, tuple[Any, NDArray[Any]]] = {
    "int16": (DITHER, DITHER / 2**15),
    "int8": (DITHER.astype(np.int8), DITHER / 2**7),
    "uint8": ((DITHER + 2**7).astype(np.uint8), DITHER / 2**7),
    "uint8 at its least": ((DITHER // 2 + 1).astype(np.uint8), (DITHER // 2 + 1 - 2**7) / 2**7),
    "int16 at its least": (
        np.array([-(2**15), 1, 0, 1] * 1000, np.int16),
        np.array([-(2**15), 1, 0, 1] * 1000) / 2**15,
    ),
    "tensor": (torch.tensor(DITHER), DITHER / 2**15),
}

REFUSED: dict[str, tuple[Any, str]] = {
    **{
        f"{kind} dither": (DITHER.astype(kind), f"the waveform is {kind}; give float in") for kind in ("int32", "int64")
    },
    **{
        kind: (LEVELS.astype(kind), f"the waveform is {kind}; give float in ±1, or int16")
        for kind in ("int32", "int64", "uint16", "uint32", "uint64", "complex64")
    },
    "bool": (LEVELS > 0, "the waveform is bool; give float in ±1, or int16"),
    "texts": (LEVELS.astype(str), "the waveform is str"),
    "tensor of int32": (torch.tensor(LEVELS).int(), "the waveform is int32; give float in ±1, or int16"),
    "tensor of int64": (torch.tensor(LEVELS).long(), "the waveform is int64; give float in ±1, or int16"),
    "levels as floats": (LEVELS.astype(np.float32), "a waveform reaches 9830 where full scale is 1; divide it by its"),
    "levels as doubles": (LEVELS.astype(np.float64), "a waveform reaches 9830 where full scale is 1"),
    "levels as a tensor": (torch.tensor(LEVELS).float(), "a waveform reaches 9830 where full scale is 1"),
    "NaN": (np.where(SOUND > 0.2, np.nan, SOUND), "values that are NaN or infinite"),
    "infinity": (np.where(SOUND > 0.2, np.inf, SOUND), "values that are NaN or infinite"),
    "empty": (SOUND[:0], r"without a sample|no samples"),
}


def batch_of(sound: Any) -> Any:
    return sound[None] if isinstance(sound, np.ndarray | torch.Tensor) else np.asarray(sound)[None]


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("kind", SAME)
def test_a_sound_is_the_same_in_every_type(kind: str, door: str) -> None:
    given, rounding = SAME[kind]
    rounded = SOUND + rounding * np.sign(np.sin(np.arange(4000) * 1.7))
    wanted, other = DOORS[door](SOUND), DOORS[door](rounded.astype(np.float32))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = DOORS[door](given)
    assert found.dtype == np.float32
    # Features differ by no more than those of a sound that is wrong by as much everywhere.
    allowed = 4 * np.abs(other - wanted).max() + 1e-6 * np.abs(wanted).max()
    assert np.abs(found - wanted).max() <= allowed


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("kind", QUIET)
def test_what_is_hardly_heard_in_a_type_is_hardly_heard(kind: str, door: str) -> None:
    given, wanted = QUIET[kind]
    np.testing.assert_allclose(DOORS[door](given), DOORS[door](wanted.astype(np.float32)), rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_known_is_refused_with_a_cure(kind: str, door: str) -> None:
    given, reason = REFUSED[kind]
    with pytest.raises((SettingsError, MediaError), match=reason):
        DOORS[door](given)


@pytest.mark.parametrize("door", DOORS)
def test_lists_of_whole_numbers_are_refused(door: str) -> None:
    with pytest.raises(SettingsError, match=r"(whole numbers|int64), whose full scale is unknown"):
        DOORS[door](LEVELS.tolist())


@pytest.mark.parametrize("door", DOORS)
def test_what_is_a_little_too_loud_is_heard_and_what_is_much_too_loud_is_told(door: str) -> None:
    """Lossy codecs overshoot by half at most."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        DOORS[door](SOUND * 5)
    loud = "a waveform reaches 30 where full scale is 1, so it is 30 times as loud"
    with pytest.warns(UserWarning, match=loud) as told:
        DOORS[door](SOUND * np.float32(30 / SOUND.max()))
    assert len(told) == 1


@pytest.mark.parametrize("shape", [(2, 2000), (2000, 2), (1, 4000), (4000, 1), (1, 1, 4000)])
def test_several_channels_are_refused(shape: tuple[int, ...]) -> None:
    sound = SOUND.reshape(shape)
    for preprocessing in (Preprocessing(), ClipPreprocessing()):
        with pytest.raises(SettingsError, match=r"has shape .*; give one channel, \(samples,\)"):
            preprocessing(sound)
    with pytest.raises(SettingsError, match="give one channel"):
        SoundNetFeatures(STUDENT, "conv2", device="cpu").fit_transform([sound])
    with pytest.raises(SettingsError, match=r"HEAR's is \(sounds, samples\)"):
        get_scene_embeddings(torch.tensor(sound[None]), HEAR)
    with pytest.raises(SettingsError, match=r"waveform has shape \(\)"):
        as_float(0.5)
    with pytest.raises(SettingsError, match="rows of several lengths"):
        as_float([[0.1], [0.2, 0.3]])


def test_a_sound_that_must_not_be_changed_is_not() -> None:
    sound = SOUND.copy()
    sound.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for door in DOORS.values():
            door(sound)
    np.testing.assert_array_equal(sound, SOUND)


def test_tables_and_mixed_lists_are_looked_at_row_by_row() -> None:
    transformer = SoundNetFeatures(STUDENT, "conv2", device="cpu")
    wanted = transformer.fit_transform([SOUND, SOUND])
    for rows in (
        np.stack([LEVELS, LEVELS]),
        torch.tensor(np.stack([SOUND, SOUND])).bfloat16().float(),
        [LEVELS, SOUND],
        (SOUND.tolist(), torch.tensor(LEVELS)),
    ):
        np.testing.assert_allclose(transformer.fit_transform(rows), wanted, rtol=2e-2, atol=1e-4)
    with pytest.raises(SettingsError, match="int32, whose full scale is unknown"):
        transformer.fit_transform(np.stack([LEVELS, LEVELS]).astype(np.int32))
    with pytest.raises(SettingsError, match="reaches 9830"):
        transformer.fit_transform([SOUND, LEVELS.astype(np.float32)])
    # A row of digital silence among others is one of 16 bit as they are.
    table = transformer.fit_transform(np.stack([LEVELS, DITHER]))
    np.testing.assert_allclose(table, transformer.fit_transform([SOUND, DITHER / np.float32(2**15)]), rtol=1e-5)
    with pytest.warns(UserWarning, match="reaches 2 in int64, whose full scale is unknown, so 1 is taken for it"):
        found = transformer.fit_transform(np.stack([DITHER, DITHER]).astype(np.int64))
    np.testing.assert_array_equal(found, transformer.fit_transform(np.stack([DITHER, DITHER]).astype(np.float32)))
    with pytest.raises(SettingsError, match="int64, whose full scale is unknown"):
        transformer.fit_transform(np.stack([LEVELS, DITHER]).astype(np.int64))
    silence = transformer.fit_transform(np.zeros((1, 4000)))
    np.testing.assert_array_equal(transformer.fit_transform([[0] * 4000]), silence)


def test_a_standardised_sound_may_have_any_level() -> None:
    asked = ClipPreprocessing(least_samples=4000, standardise=True)
    np.testing.assert_allclose(asked(LEVELS.astype(np.float32)), asked(SOUND), rtol=1e-4, atol=1e-6)
    with pytest.raises(MediaError, match="NaN"):
        asked(np.where(SOUND > 0.2, np.nan, SOUND))


def test_what_is_written_is_in_full_scale_too(tmp_path: Any) -> None:
    write_audio(tmp_path / "levels.wav", LEVELS, 8000)
    np.testing.assert_array_equal(read_audio(tmp_path / "levels.wav")[0], SOUND)
    with pytest.raises(SettingsError, match="reaches 9830"):
        write_audio(tmp_path / "loud.wav", LEVELS.astype(np.float32), 8000)
    assert not (tmp_path / "loud.wav").exists()


@pytest.mark.parametrize("given", [torch.zeros(1, 1, 4000, dtype=torch.int16), torch.zeros(1, 4000), torch.zeros(4000)])
def test_a_network_hears_only_what_its_preprocessing_gave(given: torch.Tensor) -> None:
    with pytest.raises(SettingsError, match="give each sound to its preprocessing first"):
        STUDENT(given)
    double = STUDENT.preprocessing(SOUND)[None].double()
    torch.testing.assert_close(STUDENT(double, ["conv2"]), STUDENT(double.float(), ["conv2"]))


def test_no_samples_are_no_sound() -> None:
    nothing: tuple[Any, ...] = ([], SOUND[:0], torch.zeros(0))
    for empty in nothing:
        with pytest.raises(EmptyAudioError):
            Preprocessing()(empty)
    with pytest.raises(TooShortError, match="4000 samples are too few for pool5"):
        get_scene_embeddings(torch.tensor(SOUND[None]), HearModel(STUDENT))
    with pytest.raises(EmptyAudioError):
        get_timestamp_embeddings(torch.zeros(0, 4000), HEAR)
