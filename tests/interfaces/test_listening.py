"""What the doors share: sounds of any kind become what the network hears, and a layer describes them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from soundnet_kd import SoundNet8
from soundnet_kd.errors import EmptyAudioError, MediaError, SettingsError
from soundnet_kd.interfaces.hear import HearModel, get_scene_embeddings
from soundnet_kd.interfaces.listening import Listener, as_features
from soundnet_kd.interfaces.scikit_learn import SoundNetFeatures
from soundnet_kd.media import write_audio
from soundnet_kd.models import Preprocessing
from tests.interfaces.suite import RATE, hum, write_student

pytestmark = pytest.mark.usefixtures("small_soundnet8")


@pytest.fixture
def student(tmp_path: Path) -> str:
    return write_student(tmp_path / "student.safetensors", 0)


@pytest.mark.parametrize(("rate", "seconds"), [(RATE, 3.5), (16_000, 1.0), (44_100, 4.0), (48_000, 0.01)])
def test_a_waveform_of_any_rate_is_heard_as_its_file_is(
    student: str, tmp_path: Path, rate: int, seconds: float
) -> None:
    sound = hum(0, 0, seconds, rate)
    write_audio(tmp_path / "sound.wav", sound, rate)
    wanted = SoundNetFeatures(student).fit_transform([str(tmp_path / "sound.wav")])
    listener = Listener(student)
    # The file has 16 bits.
    np.testing.assert_allclose(listener.embed([listener.waveform(sound, rate)]), wanted, rtol=2e-2, atol=2e-3)


def test_channels_come_first_and_the_network_says_which_is_heard(student: str) -> None:
    left, right = hum(0, 0, 0.5, RATE), hum(1, 1, 0.5, RATE)
    both = np.stack([left, right])
    np.testing.assert_array_equal(Listener(student).waveform(both, RATE), left)
    torch.manual_seed(0)
    mixing = Listener(SoundNet8({"objects": 2}, Preprocessing(channel="mean")))
    np.testing.assert_allclose(mixing.waveform(both, RATE), (left + right) / 2, atol=1e-7)
    with pytest.raises(SettingsError, match="11025 channels of 2 samples; transpose it"):
        mixing.waveform(both.T, RATE)


@pytest.mark.parametrize(
    "audio",
    [
        lambda sound: sound,
        lambda sound: sound.astype(np.float64),
        lambda sound: sound.tolist(),
        lambda sound: torch.from_numpy(sound),
        lambda sound: sound[None],
        lambda sound: (sound * 2**15).astype(np.int16),
    ],
)
def test_types_of_waveforms(student: str, audio: object) -> None:
    sound = hum(0, 0, 0.2, RATE)
    assert callable(audio)
    np.testing.assert_allclose(Listener(student).waveform(audio(sound), RATE), sound, atol=1 / 2**15)


@pytest.mark.parametrize(
    ("audio", "rate", "error", "message"),
    [
        ([], RATE, EmptyAudioError, "no samples"),
        (np.zeros((2, 0), np.float32), RATE, EmptyAudioError, "no samples"),
        ([0.1, float("nan")], RATE, MediaError, "NaN or infinite"),
        ([0.1, float("inf")], RATE, MediaError, "NaN or infinite"),
        (np.zeros((1, 2, 3)), RATE, SettingsError, r"shape \(1, 2, 3\)"),
        (np.zeros(9, np.int32), RATE, SettingsError, "full scale is unknown"),
        ([0.1], 0, SettingsError, "rate is 0"),
        ([0.1], 22_050.5, SettingsError, r"rate is 22050\.5"),
    ],
)
def test_what_is_no_sound(student: str, audio: object, rate: float, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Listener(student).waveform(audio, rate)


def test_square_roots_are_those_of_the_averages(student: str) -> None:
    sounds = [hum(kind, kind, 1.0 + kind / 2, RATE) for kind in range(3)]
    means, roots = Listener(student).embed(sounds), Listener(student, features="sqrt").embed(sounds)
    assert means.dtype == roots.dtype == np.float32
    np.testing.assert_allclose(roots**2, means, rtol=1e-5)
    below = np.array([[-4.0, 0.0, 9.0]], np.float32)
    np.testing.assert_array_equal(as_features(below, "sqrt"), [[-2.0, 0.0, 3.0]])
    np.testing.assert_array_equal(as_features(torch.from_numpy(below), "sqrt").numpy(), [[-2.0, 0.0, 3.0]])


def test_hears_scenes_are_the_same(student: str) -> None:
    sounds = np.stack([hum(kind, kind, 1.0, RATE) for kind in range(3)])
    listener = Listener(student, features="sqrt")
    model = HearModel(listener.network, "sqrt")
    scenes: NDArray[np.float32] = get_scene_embeddings(torch.from_numpy(sounds), model).numpy()
    np.testing.assert_allclose(scenes, listener.embed(sounds), rtol=1e-4, atol=1e-5)


def test_names_and_fingerprints_tell_listeners_apart(student: str, tmp_path: Path) -> None:
    other = write_student(tmp_path / "other.safetensors", 1)
    listeners = [Listener(student), Listener(student, features="sqrt"), Listener(student, "conv4"), Listener(other)]
    assert len({each.fingerprint for each in listeners}) == 4
    assert Listener(student).fingerprint == listeners[0].fingerprint
    assert [each.name for each in listeners] == [
        "SoundNet8-pool5-mean",
        "SoundNet8-pool5-sqrt",
        "SoundNet8-conv4-mean",
        "SoundNet8-pool5-mean",
    ]


def test_settings_that_do_not_exist(student: str) -> None:
    with pytest.raises(SettingsError, match="features is 'root'; choose one of mean, sqrt"):
        Listener(student, features="root")  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="did you mean 'pool5'"):
        Listener(student, "pool55")
    assert Listener(student).embed([]).shape == (0, Listener(student).size)
