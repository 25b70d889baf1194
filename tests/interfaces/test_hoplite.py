"""Hoplite fills a database with a network's embeddings, searches it, and refuses to mix students in it."""

from pathlib import Path

import numpy as np
import pytest

from soundnet_kd.errors import MediaError, SettingsError
from soundnet_kd.interfaces.hoplite import HopliteModel
from soundnet_kd.interfaces.scikit_learn import SoundNetFeatures
from soundnet_kd.media import write_audio
from soundnet_kd.pretrained import load_network
from tests.interfaces.suite import RATE, hum, need, write_student

need("perch-hoplite")
from perch_hoplite.agile.embed import EmbedWorker  # noqa: E402
from perch_hoplite.agile.source_info import AudioSourceConfig, AudioSources  # noqa: E402
from perch_hoplite.db import brutalism, db_loader  # noqa: E402
from perch_hoplite.db.interface import HopliteDBInterface  # noqa: E402
from perch_hoplite.zoo.zoo_interface import EmbeddingModel, InferenceOutputs  # noqa: E402

LAYER, WINDOW = "pool1", 2.0
"""Of an untrained student a shallow layer tells sounds apart, and is heard quickly."""
KINDS = 4


@pytest.fixture(scope="module")
def students(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("students")
    return [write_student(folder / f"{seed}.safetensors", seed) for seed in range(2)]


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make files of 5 s at another rate than the network's: two windows each, and a rest."""
    folder = tmp_path_factory.mktemp("sounds")
    for kind in range(KINDS):
        write_audio(folder / f"{kind}.wav", hum(kind, kind, 5.0, 44_100), 44_100)
    return folder


def model(student: str, **settings: object) -> HopliteModel:
    return HopliteModel(student, LAYER, window_size_s=WINDOW, hop_size_s=WINDOW, **settings)  # type: ignore[arg-type]


def fill(database: HopliteDBInterface, embedding: HopliteModel, sounds: Path) -> None:
    sources = AudioSources((AudioSourceConfig("hums", str(sounds), "*.wav"),))
    EmbedWorker(sources, embedding.database_config(), database, embedding_model=embedding).process_all()


@pytest.mark.parametrize("features", ["mean", "sqrt"])
def test_a_database_is_filled_and_searched(students: list[str], sounds: Path, tmp_path: Path, features: str) -> None:
    embedding = model(students[0], features=features)
    database = db_loader.create_new_usearch_db(str(tmp_path / "database"), embedding.embedding_dim)
    fill(database, embedding, sounds)
    assert database.count_embeddings() == 2 * KINDS
    files = {recording.id: recording.filename for recording in database.get_all_recordings()}
    windows = {window.id: window for window in database.get_all_windows()}
    assert sorted({tuple(window.offsets) for window in windows.values()}) == [(0.0, 2.0), (2.0, 4.0)]
    hearer = SoundNetFeatures(students[0], LAYER).fit([str(sounds)])
    for number, window in windows.items():
        # Of our own: the file's second at the network's rate, without hoplite.
        sound = hearer.student_.preprocessing.read(sounds / files[window.recording_id])
        first = round(window.offsets[0] * RATE)
        wanted = hearer.transform([sound[first : first + round(WINDOW * RATE)]])[0]
        wanted = np.sqrt(wanted) if features == "sqrt" else wanted
        kept = database.get_embedding(number)
        # Hoplite resamples in its own way, and keeps 16 bits of each number.
        assert np.dot(kept, wanted) / np.linalg.norm(kept) / np.linalg.norm(wanted) > 0.999
        # Nearest to a window is the window itself, then the other one of its file.
        query = database.get_embedding(number)
        found = brutalism.brute_search(database, query, 2, lambda rows, one: -np.linalg.norm(rows - one, axis=1))
        places = [int(each.window_id) for each in found]
        assert places[0] == number or places[1] == number
        assert {windows[place].recording_id for place in places} == {window.recording_id}


def test_another_student_is_refused(students: list[str], sounds: Path, tmp_path: Path) -> None:
    first, second = model(students[0]), model(students[1])
    assert first.key != second.key != model(students[1], features="sqrt").key
    database = db_loader.create_new_usearch_db(str(tmp_path / "database"), first.embedding_dim)
    fill(database, first, sounds)
    for other in (second, model(students[0], features="sqrt")):
        with pytest.raises(AssertionError, match="does not match the model key"):
            fill(database, other, sounds)
    assert database.count_embeddings() == 2 * KINDS


def test_it_has_what_hoplite_asks_for(students: list[str]) -> None:
    embedding = model(students[0])
    assert all(hasattr(embedding, name) for name in ("sample_rate", "embed", "batch_embed", "from_config"))
    assert set(EmbeddingModel.__dataclass_fields__) == {"sample_rate"}
    both = np.stack([hum(0, 0, 5.0, RATE), hum(1, 1, 5.0, RATE)])
    batch = embedding.batch_embed(both)
    assert isinstance(batch, InferenceOutputs)
    assert batch.batched
    assert batch.embeddings is not None
    assert batch.embeddings.shape == (2, 2, 1, embedding.embedding_dim)
    np.testing.assert_allclose(batch.embeddings[1], embedding.embed(both[1]).embeddings, rtol=1e-4)
    config = embedding.database_config().model_config
    again = HopliteModel.from_config(config)
    assert again.key == embedding.key
    assert (again.window_size_s, again.hop_size_s) == (WINDOW, WINDOW)
    in_memory = HopliteModel(load_network(students[0]))
    with pytest.raises(SettingsError, match="filled by a network in memory"):
        HopliteModel.from_config(in_memory.database_config().model_config)


def test_sounds_that_are_none(students: list[str]) -> None:
    embedding = model(students[0])
    # Shorter than a window, and shorter than a step: one window all the same.
    for samples in (3, RATE):
        found = embedding.embed(hum(0, 0, samples / RATE, RATE)).embeddings
        assert found is not None
        assert found.shape == (1, 1, embedding.embedding_dim)
        assert np.isfinite(found).all()
    with pytest.raises(MediaError, match="no samples"):
        embedding.embed(np.zeros(0, np.float32))
    with pytest.raises(MediaError, match="NaN"):
        embedding.embed(np.full(9, np.nan, np.float32))
    with pytest.raises(SettingsError, match=r"shape \(2, 9\)"):
        embedding.embed(np.zeros((2, 9), np.float32))
    with pytest.raises(SettingsError, match=r"audio_batch has shape \(9,\)"):
        embedding.batch_embed(np.zeros(9, np.float32))
    with pytest.raises(SettingsError, match="hop_size_s is 0"):
        HopliteModel(students[0], hop_size_s=0)
