"""`soundnet-kd join`: what jobs have written becomes what one run writes, and what is missing is named."""

import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from soundnet_kd import FeatureCache
from soundnet_kd.cli import main
from soundnet_kd.commands.join import join
from soundnet_kd.data import Targets
from soundnet_kd.data.target_parts import part_files
from soundnet_kd.errors import FormatError, MediaError, RunConflictError, SettingsError
from soundnet_kd.features import cache_writer
from soundnet_kd.media import write_audio
from soundnet_kd.models import SoundNet5, write_network
from soundnet_kd.shards.jobs import NOTE_FILE
from soundnet_kd.storage import lock_folder
from soundnet_kd.teachers import Teacher, TeachResult, label_videos
from tests.teachers.colours import NAMES, MeanColour, make_video, plain

RATE = 22_050
TEACHER = Teacher(MeanColour(), plain, NAMES, {"network": "mean colour"})
EXTRACT = "extract sounds --student student.safetensors --layers conv3 --batch_size 1 --device cpu --workers 0"


def label(videos: Path, out: Path, shard: str | None = None) -> TeachResult:
    return label_videos(videos, {"objects": TEACHER}, out, shard=shard, videos_per_part=2)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for number in range(7):
        make_video(folder / f"{number}.mp4", [["red", "green", "blue"][number % 3]])
    (folder / "4.mp4").write_text("this is no video")
    return folder


@pytest.fixture
def sounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A student and eleven sounds with labels in the working directory, of which one is broken; two to a shard."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cache_writer, "SOUNDS_PER_PART", 2)
    torch.manual_seed(0)
    write_network(SoundNet5({"objects": 2}).eval(), Path("student.safetensors"), {})
    random = np.random.default_rng(0)
    for number in range(11):
        noise = random.normal(0, 0.1, RATE + 100 * number).astype(np.float32)
        write_audio(Path("sounds") / f"{number}.wav", noise, RATE)
    Path("sounds/7.wav").write_bytes(b"no sound")
    lines = [f"{number}.wav,{['dog', 'cat'][number % 2]},{number % 3 + 1},note {number}" for number in range(11)]
    Path("sounds/sounds.csv").write_text("\n".join(["path,label,fold,note", *lines]))


def results(out: Path) -> dict[str, bytes]:
    """Give all files of targets but for locks; of the index too, which says nothing of when it was written."""
    files = [file for file in out.rglob("*") if file.is_file() and not file.name.startswith(".lock")]
    return {file.relative_to(out).as_posix(): file.read_bytes() for file in files}


def test_targets_of_jobs_are_joined_without_the_videos(videos: Path, tmp_path: Path) -> None:
    moved, out = tmp_path / "videos", tmp_path / "out"
    shutil.copytree(videos, moved)
    whole = label(moved, tmp_path / "whole")
    for number in (2, 3, 1):
        told = str(label(moved, out, f"{number}/3"))
    assert told.endswith(f"; all 4 are there: `soundnet-kd join {out}` joins them")
    shutil.rmtree(moved)
    joined = join(out)
    assert str(joined) == str(whole).replace("whole", "out").replace(
        "failures.csv)", "failures.csv; remove it to try them again)"
    )
    assert results(out) == results(tmp_path / "whole")
    # Nothing of the jobs is left, and it is told that nothing is left to be done.
    assert sorted(file.name for file in out.iterdir()) == [
        ".index.h5", ".lock", "failures.csv", "parts", "targets.json"
    ]  # fmt: skip
    assert main(["join", str(out)]) == 0
    assert str(join(out)) == (
        f"{out} has nothing to join: no jobs share it any more, and it holds {len(Targets(out))} clips of 6 videos"
    )


def test_what_jobs_of_targets_have_not_done_is_named(videos: Path, tmp_path: Path) -> None:
    """Whether they were never started, or their part was damaged since; then it can be done and joined."""
    out = tmp_path / "out"
    label(videos, out, "1/3")
    with pytest.raises(RunConflictError) as told:
        join(out)
    assert str(told.value) == (
        f"{out} lacks 2 of 4 shards (those that begin with 2.mp4, 4.mp4), which are of jobs 2-3 of 3; start these "
        "again, as before, then join"
    )
    label(videos, out, "2/3")
    label(videos, out, "3/3")
    part = part_files(out)[0]
    part.write_bytes(part.read_bytes()[:1000])
    with pytest.raises(RunConflictError, match=r"lacks 1 of 4 shards .* of job [123] of 3; start it again"):
        join(out)
    for number in (1, 2, 3):
        label(videos, out, f"{number}/3")
    (out / "parts" / f"{part.name}.damaged").unlink()
    join(out)
    label(videos, tmp_path / "whole")
    assert results(out) == results(tmp_path / "whole")


@pytest.mark.usefixtures("sounds")
@pytest.mark.parametrize("options", ["", "--speeds 1 0.8", "--sequences"])
def test_features_of_jobs_are_joined_without_sounds_and_network(
    options: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*EXTRACT.split(), *options.split()]
    words[1] = "sounds/sounds.csv"
    assert main([*words, "--out", "whole.h5"]) == 0
    assert main([*words, "--out", "shared.h5", "--shard", "1/3"]) == 0
    assert main([*words, "--out", "shared.h5", "--shard=3/3"]) == 0
    capsys.readouterr()
    assert main(["join", "shared.h5"]) == 1
    [line] = capsys.readouterr().err.splitlines()
    times = 2 if "speeds" in options else 1
    assert line.startswith(
        f"soundnet-kd: shared.h5 lacks {2 * times} of {6 * times} shards (those that begin with 2.wav"
    )
    command = shlex.join(["soundnet-kd", *words, "--out", "shared.h5"])
    assert line.endswith(f"which are of job 2 of 3; start it again, `{command} --shard 2/3`, then join")
    # The very command.
    assert main(shlex.split(line.split("`")[1])[1:]) == 0
    assert "all" in capsys.readouterr().out
    shutil.rmtree("sounds")
    Path("student.safetensors").unlink()
    assert main(["join", "shared.h5"]) == 0
    assert capsys.readouterr().out == (
        "wrote shared.h5: 1 layer of 10 sounds, 1 skipped (see shared.h5.failures.csv)\n"
    )
    assert Path("shared.h5").read_bytes() == Path("whole.h5").read_bytes()
    assert Path("shared.h5.failures.csv").read_bytes() == Path("whole.h5.failures.csv").read_bytes()
    assert not Path("shared.h5.parts").exists()
    assert main(["join", "shared.h5"]) == 0
    assert "shared.h5 has nothing to join: no jobs share it any more, and it holds 1 layer of 10 sounds" in (
        capsys.readouterr().out
    )


@pytest.mark.usefixtures("sounds")
def test_the_parts_of_a_run_that_was_killed_when_it_had_joined_are_removed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("soundnet_kd.features.cache_joining._remove", lambda folder: None)
        assert main([*EXTRACT.split(), "--out", "out.h5"]) == 0
    assert Path("out.h5.parts").is_dir()
    assert main(["join", "out.h5"]) == 0
    assert not Path("out.h5.parts").exists()
    with FeatureCache("out.h5") as cache:
        assert len(cache.ids) == 10


@pytest.mark.usefixtures("sounds")
def test_where_no_sound_could_be_read_joining_says_so() -> None:
    for number in range(11):
        Path(f"sounds/{number}.wav").write_bytes(b"no sound")
    assert main([*EXTRACT.split(), "--out", "out.h5", "--shard", "1/1"]) == 0
    with pytest.raises(MediaError, match="none of the 11 sounds could be read"):
        join("out.h5")
    assert Path("out.h5.failures.csv").is_file()


@pytest.mark.parametrize("kind", ["targets", "features"])
@pytest.mark.usefixtures("sounds")
def test_jobs_that_still_run_are_named(kind: str, videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    if kind == "targets":
        label(videos, out, "1/4")
        folder = out
    else:
        main([*EXTRACT.split(), "--out", str(out), "--shard", "1/4"])
        folder = tmp_path / "out.parts"
    shared = f"{folder} is shared by jobs, of which"
    with lock_folder(folder, "2-of-4"):
        with pytest.raises(RunConflictError, match=f"{shared} job 2 of 4 still writes there; wait for its end"):
            join(out)
        with (
            lock_folder(folder, "3-of-4"),
            lock_folder(folder, "1-of-4"),
            pytest.raises(RunConflictError, match=f"{shared} jobs 1-3 of 4 still write there; wait for their end"),
        ):
            join(out)


def test_jobs_of_an_older_version_are_joined_by_their_own_command(videos: Path, tmp_path: Path) -> None:
    """They note nothing but their plan; with the first job of this version there is all that joining needs."""
    out = tmp_path / "out"
    label(videos, out, "1/2")
    (out / NOTE_FILE).unlink()
    with pytest.raises(FormatError, match=r"shared by jobs of an older version, .* without --shard, which joins too"):
        join(out)
    label(videos, out, "2/2")
    join(out)
    label(videos, tmp_path / "whole")
    assert results(out) == results(tmp_path / "whole")


@pytest.mark.usefixtures("sounds")
def test_the_parts_of_a_run_that_is_no_job_are_not_joined(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("soundnet_kd.commands.extract.finish_cache", lambda *_: 1 / 0)
        assert main([*EXTRACT.split(), "--out", "out.h5"]) == 1
    with pytest.raises(
        FormatError, match=r"parts of out\.h5 are of a run without --shard, .* run that command without"
    ):
        join("out.h5")


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: None, "there is nothing"),
        (lambda path: path.mkdir(), "that is something else"),
        (lambda path: path.write_text("features"), "that is something else"),
    ],
)
def test_what_is_nothing_of_the_kind_is_refused(make: Callable[[Path], object], why: str, tmp_path: Path) -> None:
    make(tmp_path / "out")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SettingsError, match=rf"is neither a folder of targets nor .* \({why}\); give what the jobs"):
        join(tmp_path / "out")
    assert sorted(tmp_path.rglob("*")) == before
