"""mteb runs a network, and gives no student the result of another."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from soundnet_kd.errors import MediaError, SettingsError
from soundnet_kd.interfaces.maeb import MaebModel
from soundnet_kd.interfaces.scikit_learn import SoundNetFeatures
from soundnet_kd.media import write_audio
from soundnet_kd.models import Network
from soundnet_kd.pretrained import load_network
from tests.interfaces.suite import RATE, hum, need, write_student

need("mteb")
import mteb  # noqa: E402
from datasets import Dataset, DatasetDict, Features, List, Value  # noqa: E402
from mteb.models import EncoderProtocol, ModelMeta  # noqa: E402
from mteb.tasks.classification.zxx.esc50 import ESC50Classification  # noqa: E402

Sounds = Sequence[tuple[NDArray[np.float32], int]]
SPLITS = {"train": 24, "test": 18}
CLASSES = 3
LAYER = "pool1"
"""Of an untrained student a shallow layer tells sounds apart, and is heard quickly."""


def sounds_of(split: str) -> list[tuple[NDArray[np.float32], int]]:
    """Make a split's sounds, of several rates, lengths and numbers of channels; they take turns in their classes."""
    made = []
    for number in range(SPLITS[split]):
        rate = (16_000, RATE, 44_100)[number % 2]
        sound = hum(number % CLASSES, number + 1000 * (split == "test"), 0.6 + 0.2 * (number % 4), rate)
        made.append((np.stack([sound, -sound]) if number % 5 == 0 else sound, rate))
    return made


class HumTask(ESC50Classification):  # type: ignore[misc]
    """A classification of made sounds, a split of which is learned from as a whole."""

    metadata = ESC50Classification.metadata.model_copy(update={"name": "Hum", "eval_splits": ["test"]})
    is_cross_validation = False
    samples_per_label = 100
    evaluator_model = LogisticRegression(max_iter=5000)

    def load_data(self, *args: object, **kwargs: object) -> None:
        made = {split: _table(sounds_of(split)) for split in SPLITS}
        self.dataset, self.data_loaded = DatasetDict(made), True


def _table(sounds: Sounds) -> Any:
    one = all(sound.ndim == 1 for sound, _ in sounds)
    array = List(Value("float32")) if one else List(List(Value("float32")))
    audio = [{"array": sound if one else np.atleast_2d(sound), "sampling_rate": rate} for sound, rate in sounds]
    features = Features({"audio": {"array": array, "sampling_rate": Value("int32")}, "target": Value("int64")})
    return Dataset.from_dict({"audio": audio, "target": [number % CLASSES for number in range(len(sounds))]}, features)


@pytest.fixture(scope="module")
def students(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("students")
    return [write_student(folder / f"{seed}.safetensors", seed) for seed in range(2)]


def accuracy(model: Any, cache: Path | None) -> float:
    results = None if cache is None else mteb.ResultCache(cache)
    found = mteb.evaluate(model, HumTask(), cache=results, show_progress_bar=False)
    return float(found.task_results[0].scores["test"][0]["accuracy"])


@pytest.mark.parametrize("features", ["mean", "sqrt"])
def test_the_accuracy_is_scikit_learns_on_our_own_features(students: list[str], tmp_path: Path, features: Any) -> None:
    """Files of the same sounds, heard and classified without mteb."""
    found = accuracy(MaebModel(students[0], LAYER, features), None)
    tables = {}
    for split, count in SPLITS.items():
        paths = [tmp_path / f"{split}{number}.wav" for number in range(count)]
        for path, (sound, rate) in zip(paths, sounds_of(split), strict=True):
            write_audio(path, sound if sound.ndim == 1 else sound[0], rate)
        tables[split] = SoundNetFeatures(students[0], LAYER).fit_transform(list(map(str, paths)))
        if features == "sqrt":
            tables[split] = np.sqrt(tables[split])
    labels = {split: np.arange(count) % CLASSES for split, count in SPLITS.items()}
    classifier = LogisticRegression(max_iter=5000, random_state=42).fit(tables["train"], labels["train"])
    wanted = classifier.score(tables["test"], labels["test"])
    assert found == pytest.approx(wanted, abs=1e-9)
    assert 1 / CLASSES < wanted < 1


def test_no_student_gets_the_result_of_another(students: list[str], tmp_path: Path) -> None:
    models = [MaebModel(students[0], LAYER), MaebModel(students[0], LAYER, "sqrt"), MaebModel(students[1], LAYER)]
    alone = [accuracy(model, None) for model in models]
    assert len(set(alone)) > 1
    assert [accuracy(model, tmp_path) for model in models] == alone
    # What is there is found again, and only by the one that it belongs to.
    cache = mteb.ResultCache(tmp_path)
    for model, wanted in zip(models, alone, strict=True):
        kept = cache.load_task_result("Hum", model.mteb_model_meta)
        assert kept is not None
        assert kept.scores["test"][0]["accuracy"] == pytest.approx(wanted, abs=1e-6)
    assert cache.load_task_result("Hum", MaebModel(students[1], "conv4").mteb_model_meta) is None
    names = [model.mteb_model_meta.name for model in models]
    assert names == [f"soundnet_kd/SoundNet8-{LAYER}-{kind}" for kind in ("mean", "sqrt", "mean")]


def test_it_is_an_encoder_that_says_what_it_is(students: list[str]) -> None:
    model = MaebModel(students[0], licence="cc-by-4.0")
    assert isinstance(model, EncoderProtocol)
    about = model.mteb_model_meta
    assert isinstance(about, ModelMeta)
    assert (about.license, about.modalities, about.embed_dim) == ("cc-by-4.0", ["audio"], model.listener.size)
    assert about.n_parameters == sum(each.numel() for each in load_network(students[0]).parameters())
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(4, 5)), rng.normal(size=(4, 5))
    cosines = first @ second.T / np.outer(np.linalg.norm(first, axis=1), np.linalg.norm(second, axis=1))
    np.testing.assert_allclose(model.similarity(first, second), cosines, rtol=1e-5)
    np.testing.assert_allclose(model.similarity_pairwise(first, second), np.diag(cosines), rtol=1e-5)
    with pytest.raises(SettingsError, match="licence is 'mine'; mteb takes an address"):
        MaebModel(students[0], licence="mine")


def test_its_description_loads_it_again(students: list[str], tmp_path: Path) -> None:
    path = tmp_path / "student.safetensors"
    path.write_bytes(Path(students[0]).read_bytes())
    about = MaebModel(path, features="sqrt").mteb_model_meta
    again = about.load_model()
    assert isinstance(again, MaebModel)
    assert again.listener.fingerprint == MaebModel(students[0], features="sqrt").listener.fingerprint
    path.write_bytes(Path(students[1]).read_bytes())
    with pytest.raises(SettingsError, match="is no longer soundnet_kd/SoundNet8-pool5-sqrt of revision"):
        about.load_model()
    network: Network = load_network(students[0])
    assert MaebModel(network).mteb_model_meta.loader is None


def batches(*sounds: object) -> list[dict[str, Any]]:
    return [{"audio": [{"array": sound, "sampling_rate": RATE}]} for sound in sounds]


def test_sounds_that_are_none(students: list[str]) -> None:
    model, good = MaebModel(students[0]), np.zeros(3, np.float32)
    told = {"task_metadata": HumTask.metadata, "hf_split": "test", "hf_subset": "default", "show_progress_bar": False}
    # Three samples are a sound: it is repeated.
    assert model.encode(batches(good, good), **told).shape == (2, model.listener.size)
    assert model.encode([], **told).shape == (0, model.listener.size)
    with pytest.raises(MediaError, match=r"sound 1 of Hum \(test\): a sound has no samples"):
        model.encode(batches(good, []), **told)
    with pytest.raises(MediaError, match=r"sound 1 of Hum \(test\): .*NaN"):
        model.encode(batches(good, [0.1, np.nan]), **told)
    found = model.encode(batches(torch.zeros(1, 9)), **told)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
