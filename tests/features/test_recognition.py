"""Files of features and of peeled sounds are recognised, and say which network they are of."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from soundnet_kd.errors import FormatError
from soundnet_kd.features.activation_file import PeelSource, read_peel_source
from soundnet_kd.features.cache import FeatureCache, NetworkIdentity, is_feature_cache, read_source_identity
from tests.analysis.caches import write_cache


@pytest.mark.parametrize(
    ("identity", "network"),
    [
        ({"student": {"architecture": "SoundNet8", "sha256": "ab"}}, NetworkIdentity("SoundNet8", "ab", "student")),
        (
            {"student": {"architecture": "SoundNet5", "sha256": "cd", "kind": "finetuned", "layer": "conv4"}},
            NetworkIdentity("SoundNet5", "cd", "finetuned"),
        ),
        ({"student": "my own"}, NetworkIdentity("my own", "", "")),
        ({"sounds": {}}, None),
    ],
)
def test_an_identity_names_its_network(identity: dict[str, object], network: NetworkIdentity | None) -> None:
    assert NetworkIdentity.from_identity(identity) == network


def test_a_cache_names_its_network(tmp_path: Path) -> None:
    write_cache(
        tmp_path / "f.h5", {"conv1": np.zeros((2, 3), np.float32)}, [0, 0], [1, 2], ["dog"], architecture="SoundNet8"
    )
    assert is_feature_cache(str(tmp_path / "f.h5"))
    with FeatureCache(tmp_path / "f.h5") as cache:
        assert cache.network == NetworkIdentity("SoundNet8", "none", "student")
    with h5py.File(tmp_path / "f.h5", "r+") as file:
        file.attrs["identity"] = "{}"
    with FeatureCache(tmp_path / "f.h5") as cache, pytest.raises(FormatError, match="does not name its network"):
        _ = cache.network


def test_other_files_are_no_caches(tmp_path: Path) -> None:
    (tmp_path / "text.h5").write_text("no HDF5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file.create_group("layers")
    with h5py.File(tmp_path / "part.h5", "w") as file:
        file.attrs["format_version"] = 1
        file.create_group("layers")
    assert not any(map(is_feature_cache, (tmp_path / "none.h5", *tmp_path.glob("*.h5"))))


def test_an_output_tells_the_features_it_was_made_from(tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    for text, identity in (('{"features": {"sounds": 1}}', {"sounds": 1}), ("{}", None), ("[]", None), ("{", None)):
        file.write_text(text)
        assert read_source_identity(str(file)) == identity


def test_a_peeled_sound_names_its_sound_and_network(tmp_path: Path) -> None:
    content = {"network": {"architecture": "SoundNet5", "sha256": "ab"}, "sound": {"file": "dog.wav"}}
    (tmp_path / "peel.json").write_text(json.dumps(content))
    assert read_peel_source(str(tmp_path)) == PeelSource("dog.wav", "SoundNet5")
    for damaged in ("{}", "[]", '{"sound": "dog.wav"}'):
        (tmp_path / "peel.json").write_text(damaged)
        with pytest.raises(FormatError, match=r"peel\.json is not what `soundnet-kd peel` writes"):
            read_peel_source(tmp_path)
