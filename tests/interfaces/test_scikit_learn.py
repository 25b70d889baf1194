"""The transformer in scikit-learn's hands."""

import pickle
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from soundnet_kd import SoundNet8
from soundnet_kd.errors import MediaError, SettingsError
from soundnet_kd.features.extractor import FeatureExtractor
from soundnet_kd.interfaces.scikit_learn import SoundNetFeatures
from soundnet_kd.media import write_audio
from soundnet_kd.models import Preprocessing, write_network

RATE = 22_050


def small_student() -> SoundNet8:
    """Give a student that hears some samples only, so that the checks are quick."""
    torch.manual_seed(0)
    return SoundNet8({"objects": 2}, Preprocessing(least_samples=256)).eval()


# The numbers of these checks are no sounds.
@pytest.mark.filterwarnings("ignore:a waveform reaches:UserWarning")
@parametrize_with_checks([SoundNetFeatures(layer="conv2", device="cpu")])
def test_scikit_learns_own_checks(
    estimator: SoundNetFeatures, check: Callable[[SoundNetFeatures], None], student_file: str
) -> None:
    check(estimator.set_params(student=student_file))


@pytest.fixture(scope="module")
def student_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("student") / "student.safetensors"
    write_network(small_student(), path, {})
    return str(path)


@pytest.fixture
def sounds(tmp_path: Path) -> list[str]:
    rng = np.random.default_rng(0)
    paths = []
    for number, seconds in enumerate([1.0, 2.0, 1.0, 0.5]):
        path = tmp_path / f"{number}.wav"
        write_audio(path, rng.uniform(-0.5, 0.5, round(seconds * RATE)).astype(np.float32), RATE)
        paths.append(str(path))
    return paths


def test_files_and_waveforms_give_what_the_network_gives(sounds: list[str], tmp_path: Path) -> None:
    student = SoundNet8({"objects": 2}).eval()
    write_network(student, tmp_path / "student.safetensors", {})
    transformer = SoundNetFeatures(tmp_path / "student.safetensors", layer="pool2", batch_size=2, device="cpu")
    features = transformer.fit_transform(sounds)
    assert features.shape == (4, 32)
    assert features.dtype == np.float32
    for path, row in zip(sounds, features, strict=True):
        waveform = student.preprocessing.read(Path(path))
        with torch.inference_mode():
            wanted = student(student.preprocessing(waveform)[None], ["pool2"])["pool2"].mean(dim=-1)[0]
        np.testing.assert_allclose(row, wanted.numpy(), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(clone(transformer).fit_transform(waveform[None])[0], row, rtol=1e-4, atol=1e-6)
    assert list(transformer.get_feature_names_out()[:2]) == ["pool2_0", "pool2_1"]
    again = pickle.loads(pickle.dumps(transformer))
    np.testing.assert_array_equal(again.transform(sounds), features)


def test_every_way_to_name_or_give_sounds(sounds: list[str]) -> None:
    pandas = pytest.importorskip("pandas")
    transformer = SoundNetFeatures(small_student(), layer="conv2", pooling="std", batch_size=2, device="cpu")
    wanted = transformer.fit_transform(sounds)
    waveforms = [small_student().preprocessing.read(Path(path)) for path in sounds]
    assert len({len(waveform) for waveform in waveforms}) == 3
    for given in (
        np.array(sounds),
        np.array(sounds)[:, None],
        [[path] for path in sounds],
        np.array([*waveforms, None], dtype=object)[:-1],
        pandas.DataFrame({"path": sounds}),
        [Path(path) for path in sounds],
        waveforms,
        [np.round(waveform * 2**15).astype(np.int16) for waveform in waveforms],
    ):
        np.testing.assert_allclose(transformer.fit_transform(given), wanted, rtol=1e-3, atol=1e-5)
    exact = small_student()(small_student().preprocessing(waveforms[1])[None], ["conv2"])["conv2"]
    np.testing.assert_allclose(wanted[1], exact[0].std(dim=-1, correction=0).detach().numpy(), rtol=1e-4, atol=1e-6)


def test_a_long_sound_is_heard_in_pieces(sounds: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    transformer = SoundNetFeatures(small_student(), layer="pool2", device="cpu")
    at_once = transformer.fit_transform(sounds)
    monkeypatch.setattr("soundnet_kd.features.extractor.SAMPLES_AT_ONCE", RATE)
    monkeypatch.setattr("soundnet_kd.features.extractor.SEGMENT_SAMPLES", 9_999)
    np.testing.assert_allclose(transformer.fit_transform(sounds), at_once, rtol=1e-5)
    waveforms = [small_student().preprocessing.read(Path(path)) for path in sounds]
    np.testing.assert_allclose(transformer.fit_transform(waveforms), at_once, rtol=1e-5)


def test_all_waveforms_are_looked_at_before_the_first_is_heard_and_only_some_are_held(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """16 waveforms of 4 MB as floats, heard one at a time; what NumPy holds is measured where the network hears."""
    rng = np.random.default_rng(0)
    waveforms: list[Any] = [rng.integers(-9000, 9000, 2**20).astype(np.int16) for _ in range(16)]
    held: list[int] = []
    extract_batch = FeatureExtractor.extract

    def watched(*given: Any) -> dict[str, NDArray[np.float32]]:
        held.append(tracemalloc.get_traced_memory()[0])
        return extract_batch(*given)

    monkeypatch.setattr(FeatureExtractor, "extract", watched)
    transformer = SoundNetFeatures(small_student(), layer="conv1", batch_size=1, device="cpu").fit(waveforms)
    with pytest.raises(SettingsError, match="int32, whose full scale is unknown"):
        transformer.transform([*waveforms, waveforms[0].astype(np.int32)])
    assert not held
    tracemalloc.start()
    try:
        transformer.transform(waveforms)
    finally:
        tracemalloc.stop()
    assert len(held) == 16
    assert max(held) < 4 * 2**22


def test_it_works_in_a_pipeline(sounds: list[str]) -> None:
    pipeline = make_pipeline(SoundNetFeatures(small_student(), layer="conv1", pooling="max"), LogisticRegression())
    assert pipeline.fit(sounds, ["a", "b", "a", "b"]).predict(sounds).shape == (4,)
    deeper = pipeline.set_params(soundnetfeatures__layer="pool2").fit(sounds, list("abab"))
    assert len(deeper[-1].coef_[0]) == 32


def test_wrong_input_is_named(sounds: list[str], tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="is one path; give a list"):
        SoundNetFeatures(small_student()).fit(sounds[0])
    with pytest.raises(SettingsError, match="pooling is 'median'"):
        SoundNetFeatures(small_student(), pooling="median").fit(sounds)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="did you mean 'pool5'"):
        SoundNetFeatures(small_student(), layer="pool6").fit(sounds)
    with pytest.raises(SettingsError, match="row 1 is no path"):
        SoundNetFeatures(small_student()).fit([sounds[0], np.zeros(9)])  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="batch_size is 0"):
        SoundNetFeatures(small_student(), batch_size=0).fit(sounds)
    with pytest.raises(SettingsError, match="int32, whose full scale is unknown"):
        SoundNetFeatures(small_student(), layer="conv1").fit_transform([np.full(RATE, 2**20, np.int32)])
    with pytest.raises(MediaError, match="NaN or infinite"):
        SoundNetFeatures(small_student(), layer="conv1").fit_transform([np.full(RATE, np.nan)])
    (tmp_path / "broken.wav").write_text("")
    with pytest.raises(MediaError, match=r"broken\.wav is empty"):
        SoundNetFeatures(small_student(), layer="conv1").fit_transform([str(tmp_path / "broken.wav")])
