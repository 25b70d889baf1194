"""Students of one's own by name: imported, kept, named."""

from pathlib import Path

import pytest

from soundnet_kd import SoundNet5, load_student
from soundnet_kd.errors import FormatError, RunConflictError, SettingsError
from soundnet_kd.models import Preprocessing, write_network
from soundnet_kd.pretrained.students import import_student, student_place
from tests.pretrained.layouts import write_pytorch
from tests.pretrained.soundnet import soundnet


def test_our_own_students_keep_all_that_they_say(cache: Path, tmp_path: Path) -> None:
    asked = Preprocessing(sample_rate=16_000, amplitude=1.0, least_samples=1000)
    student = SoundNet5({"objects": ["cat", "dög"], "sounds": 2}, asked)
    write_network(student, tmp_path / "student.safetensors", {"steps": 7})
    import_student(tmp_path / "student.safetensors", "mine")
    assert load_student("mine").fingerprint() == student.fingerprint()


def test_a_name_keeps_its_student(cache: Path, tmp_path: Path) -> None:
    write_pytorch(tmp_path / "a.pth", soundnet(5), 5)
    write_pytorch(tmp_path / "b.pth", soundnet(5, objects=4), 5)
    import_student(tmp_path / "a.pth", "mine")
    import_student(tmp_path / "a.pth", "mine")
    with pytest.raises(
        RunConflictError, match=r"mine is another network already; choose another name, or delete .*mine"
    ):
        import_student(tmp_path / "b.pth", "mine")
    assert len(load_student("mine").class_names["objects"]) == 3


@pytest.mark.parametrize("name", ["../mine", "a/b", "", ".hidden", "x" * 65, "C:mine"])
def test_a_name_that_is_a_path_is_refused(cache: Path, tmp_path: Path, name: str) -> None:
    write_pytorch(tmp_path / "a.pth", soundnet(5), 5)
    with pytest.raises(SettingsError, match="cannot be a name"):
        import_student(tmp_path / "a.pth", name)


def test_wrong_names_name_the_nearest(cache: Path, tmp_path: Path) -> None:
    write_pytorch(tmp_path / "a.pth", soundnet(5), 5)
    import_student(tmp_path / "a.pth", "fields")
    with pytest.raises(SettingsError, match="there is no student soundnet9; did you mean 'soundnet8'"):
        load_student("soundnet9")
    with pytest.raises(SettingsError, match=r"did you mean 'fields'\?.*or a name: soundnet8, .*, fields$"):
        load_student("feilds")
    with pytest.raises(
        FormatError, match=r"a\.pth is no student\.safetensors; `soundnet-kd weights import .*a\.pth --as NAME`"
    ):
        load_student(tmp_path / "a.pth")


def test_a_student_that_was_damaged_in_the_cache_says_how_to_get_it_again(cache: Path, tmp_path: Path) -> None:
    write_pytorch(tmp_path / "a.pth", soundnet(5), 5)
    import_student(tmp_path / "a.pth", "mine")
    student_place("mine").write_bytes(b"broken")
    with pytest.raises(FormatError, match=r"delete .*mine\.safetensors, and fetch or import it again"):
        load_student("mine")
