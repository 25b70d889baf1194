"""Files are whole or absent, and know what made them."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from soundnet_kd.errors import FormatError, RunConflictError
from soundnet_kd.storage import (
    atomic_write,
    ensure_same_settings,
    package_data,
    read_failures,
    read_json,
    unique_file_stems,
    versions,
    write_failures,
    write_json,
)


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "result.txt"
    path.write_text("old")

    def fail() -> None:
        with atomic_write(path) as partial:
            partial.write_text("half of the n")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_ends_well_replaces(tmp_path: Path) -> None:
    path = tmp_path / "new" / "result.txt"
    with atomic_write(path) as partial:
        partial.write_text("all of it")
        assert not path.exists()
    assert path.read_text() == "all of it"
    assert list(path.parent.iterdir()) == [path]


def test_claiming_again_with_the_same_settings_is_fine(tmp_path: Path) -> None:
    ensure_same_settings(tmp_path / "run.json", {"seed": 0, "names": ("a", "b"), "versions": {"torch": "1"}})
    ensure_same_settings(tmp_path / "run.json", {"seed": 0, "names": ("a", "b"), "versions": {"torch": "2"}})
    assert read_json(tmp_path / "run.json")["versions"] == {"torch": "1"}


def test_claiming_with_other_settings_names_the_difference(tmp_path: Path) -> None:
    ensure_same_settings(tmp_path / "run.json", {"seed": 0, "teacher": {"network": "resnet18", "sha256": "a"}})
    with pytest.raises(
        RunConflictError, match=r"teacher\.network was \"resnet18\", now \"resnet50\".*choose another --out"
    ):
        ensure_same_settings(tmp_path / "run.json", {"seed": 0, "teacher": {"network": "resnet50", "sha256": "a"}})
    assert read_json(tmp_path / "run.json")["teacher"]["network"] == "resnet18"


def test_broken_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(FormatError, match=r"run\.json is not valid JSON"):
        read_json(tmp_path / "run.json")


def test_failures_are_a_table_or_absent(tmp_path: Path) -> None:
    path = tmp_path / "failures.csv"
    write_failures(path, {"b.mp4": "b.mp4 has no sound, at all", "a.mp4": "é"})
    assert path.read_text(encoding="utf-8").splitlines() == [
        "file,reason",
        "a.mp4,é",
        'b.mp4,"b.mp4 has no sound, at all"',
    ]
    assert read_failures(str(path)) == {"a.mp4": "é", "b.mp4": "b.mp4 has no sound, at all"}
    write_failures(path, {})
    assert not path.exists()
    assert read_failures(path) == {}


def test_names_become_parts_of_file_names_that_differ(tmp_path: Path) -> None:
    names = ["Sci-Fi", "a/b", "a_b", "A_B", "Kinder & Küche", "..", "", "x" * 300, "ü" * 300, "c:d?\n"]
    stems = unique_file_stems(names)
    assert stems[:7] == ["Sci-Fi", "a_b", "a_b-2", "A_B-3", "Kinder & Küche", "_", "_-2"]
    assert stems[-1] == "c_d__"
    assert len({stem.casefold() for stem in stems}) == len(names)
    for stem in stems:
        (tmp_path / f"{stem}.safetensors").touch()
    assert len(list(tmp_path.iterdir())) == len(names)


def test_shipped_folders_are_found() -> None:
    assert (package_data("pipelines") / "quickstart.yaml").is_file()


def test_versions_name_this_package(tmp_path: Path) -> None:
    write_json(tmp_path / "v.json", versions())
    assert read_json(tmp_path / "v.json")["soundnet-kd"]


def test_whoever_may_read_the_folder_may_read_what_safetensors_wrote(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "net.safetensors") as partial:
        save_file({"weight": torch.zeros(1)}, partial)
    (tmp_path / "plain.txt").touch()
    assert (tmp_path / "net.safetensors").stat().st_mode == (tmp_path / "plain.txt").stat().st_mode
