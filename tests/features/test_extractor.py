"""Features of the networks that learn labelled sounds: exact lengths, rows over frequency, from their files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from soundnet_kd import FeatureCache, extract
from soundnet_kd.commands.neurons import neurons
from soundnet_kd.errors import FormatError, SettingsError
from soundnet_kd.features import extractor
from soundnet_kd.media import write_audio
from soundnet_kd.models import CLASSIFIER_FILE, write_network
from soundnet_kd.models.classifiers import SoundClassifier, build_classifier

RATE = 16_000
SECONDS = {"wind/0.wav": 0.5, "wind/1.wav": 1.0, "rain/0.wav": 2.75, "rain/1.wav": 1.0, "rain/2.wav": 1.0}


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name, seconds in SECONDS.items():
        noise = 0.1 * rng.standard_normal(round(seconds * RATE))
        write_audio(tmp_path / "sounds" / name, noise.astype(np.float32), RATE)
    return tmp_path / "sounds"


def network(name: str, **settings: Any) -> SoundClassifier:
    torch.manual_seed(0)
    return build_classifier(name, {"class_names": ["rain", "wind"], **settings})


def heard(classifier: SoundClassifier, sound: Path, pieces: list[slice], layers: tuple[str, ...]) -> dict[str, Any]:
    """What the network makes of each piece by itself, all steps and rows in one mean."""
    waveform = classifier.preprocessing.read(sound)
    with torch.inference_mode():
        answers = [classifier(classifier.preprocessing(waveform[piece])[None], layers) for piece in pieces]
    return {
        layer: np.mean([answer[layer][0].flatten(1).mean(dim=1).numpy() for answer in answers], axis=0)
        for layer in layers
    }


def test_a_network_of_an_exact_length_hears_whole_pieces(sounds: Path, tmp_path: Path) -> None:
    classifier = network("LightCNN").eval()
    extract(sounds, classifier, tmp_path / "features.h5", workers=0, device="cpu")
    pieces = {
        "wind/0.wav": [slice(0, RATE)],  # followed by silence
        "wind/1.wav": [slice(0, RATE)],
        "rain/0.wav": [slice(0, RATE), slice(RATE, 2 * RATE)],  # 0.75 s are left
    }
    with FeatureCache(tmp_path / "features.h5") as cache:
        assert cache.layers == classifier.layers
        for name, parts in pieces.items():
            expected = heard(classifier, sounds / name, parts, classifier.layers)
            for layer in classifier.layers:
                row = cache[layer][cache.ids.index(name)]
                np.testing.assert_allclose(row, expected[layer], rtol=1e-3, atol=1e-4, err_msg=f"{name} {layer}")


def test_a_network_of_any_length_hears_a_sound_at_once(
    sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier = network("CatsDogs").eval()
    layers = ("conv3", "average", "answer")
    extract(sounds, classifier, tmp_path / "features.h5", layers=layers, sequences=True, workers=0, device="cpu")
    with FeatureCache(tmp_path / "features.h5") as cache:
        for name in SECONDS:
            expected = heard(classifier, sounds / name, [slice(None)], layers)
            for layer in layers:
                row = cache[layer][cache.ids.index(name)]
                np.testing.assert_allclose(row, expected[layer], rtol=1e-3, atol=1e-5)
        # Ten convolutions, of which three halve the time by here.
        assert cache.sequence(cache.ids.index("rain/0.wav"), "conv3").shape == (2.75 * RATE / 8, 10)
        assert cache.step_seconds("conv3") == 8 / RATE
        with pytest.raises(SettingsError, match="average has no steps over time"):
            cache.step_seconds("average")
    # Longer ones than are held in memory are heard in pieces, the last one if it is long enough.
    monkeypatch.setattr(extractor, "SAMPLES_AT_ONCE", 20_000)
    extract(sounds, classifier, tmp_path / "pieces.h5", layers=["answer"], workers=0, device="cpu")
    with FeatureCache(tmp_path / "pieces.h5") as cache:
        expected = heard(classifier, sounds / "rain/0.wav", [slice(0, 20_000), slice(20_000, 40_000)], ("answer",))
        row = cache["answer"][cache.ids.index("rain/0.wav")]
        np.testing.assert_allclose(row, expected["answer"], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", ["CatsDogs", "LightCNN"])
def test_neurons_of_a_network_from_its_file(name: str, sounds: Path, tmp_path: Path) -> None:
    classifier = network(name)
    write_network(classifier, tmp_path / "run" / CLASSIFIER_FILE, {})
    layers = (classifier.layers[0], classifier.output_layer)
    extract(sounds, tmp_path / "run", tmp_path / "features.h5", layers=layers, workers=0, device="cpu")
    found = neurons(tmp_path / "features.h5", tmp_path / "neurons", percentile=60, shuffles=50)
    assert {layer: len(statistics.counts) for layer, statistics in found.layers.items()} == {
        layer: classifier.channels(layer) for layer in layers
    }


def test_a_file_of_something_else_is_refused(sounds: Path, tmp_path: Path) -> None:
    (tmp_path / CLASSIFIER_FILE).write_bytes(b"nothing")
    with pytest.raises(FormatError, match=r"is not a readable network .* `finetune` or `train`"):
        extract(sounds, tmp_path, tmp_path / "features.h5")
