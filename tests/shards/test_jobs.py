"""Jobs that share shards: together they leave what one of them alone would."""

import multiprocessing
import time
from collections.abc import Iterable, Mapping
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np
import pytest
import torch

from soundnet_kd.commands.extract import extract
from soundnet_kd.commands.join import join
from soundnet_kd.data import Targets
from soundnet_kd.data.target_parts import part_files
from soundnet_kd.errors import FormatError, RunConflictError, SettingsError
from soundnet_kd.features import cache_writer
from soundnet_kd.media import write_audio
from soundnet_kd.models import Preprocessing, SoundNet8
from soundnet_kd.shards.jobs import Job
from soundnet_kd.shards.shard import Shard, cut
from soundnet_kd.storage import ensure_same_settings, lock_folder, read_json, spell_jobs, write_json
from soundnet_kd.teachers import Teacher, TeachResult, label_videos
from tests.processes import forks
from tests.teachers.colours import NAMES, MeanColour, make_video, plain

RATE = 22_050
TEACHER = Teacher(MeanColour(), plain, NAMES, {"network": "mean colour"})


def label(videos: Path, out: Path, shard: str | None = None, videos_per_part: int = 2) -> TeachResult:
    return label_videos(videos, {"objects": TEACHER}, out, shard=shard, videos_per_part=videos_per_part)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for number in range(9):
        make_video(folder / f"{number}.mp4", [["red", "green", "blue"][number % 3], "green"])
    (folder / "4.mp4").write_text("this is no video")
    return folder


@pytest.fixture(scope="module")
def whole(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return label(videos, tmp_path_factory.mktemp("whole") / "out").out


def contents(out: Path) -> Mapping[str, bytes]:
    """Give the files of the targets but for what is no result: locks and the index, which has times."""
    files = [file for file in out.rglob("*") if file.is_file() and not file.name.startswith(".")]
    return {file.relative_to(out).as_posix(): file.read_bytes() for file in files}


def test_jobs_leave_what_one_run_leaves(videos: Path, whole: Path, tmp_path: Path) -> None:
    """In any order, with one that is done twice, and one that nobody did: the last command does that."""
    out = tmp_path / "out"
    told = [str(label(videos, out, shard)) for shard in ("3/4", "1/4", "3/4")]
    assert told[0].startswith("job 3/4 did 1 shard (1 files, 1 refused); 4 of 5 are still missing; when all jobs ")
    assert told[1].startswith("job 1/4 did 2 shards (3 files); 2 of 5 are still missing")
    assert told[2].startswith("job 3/4 did 0 shards (0 files), 1 were there; 2 of 5 are")
    assert len(part_files(out)) == 3
    assert not (out / "failures.csv").exists()
    label(videos, out)
    assert contents(out) == contents(whole)
    assert list(Targets(out).sources()) == sorted(f"{number}.mp4" for number in range(9) if number != 4)


def test_jobs_at_the_same_time(videos: Path, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with forks().Pool(2) as pool:
        results = pool.starmap(label, [(videos, out, f"{number}/2") for number in (1, 2)])
    assert sum(result.labelled for result in results) == 8
    label(videos, out)
    assert contents(out) == contents(whole)


def test_work_is_the_same_wherever_videos_come_while_jobs_run(tmp_path: Path) -> None:
    """What is new waits for the next run, and nothing is labelled twice; what is gone is told."""
    videos, out = tmp_path / "videos", tmp_path / "out"
    for number in (0, 2, 3, 5):
        make_video(videos / f"{number}.mp4", ["red"])
    label(videos, out, "1/2")
    make_video(videos / "1.mp4", ["blue"])
    label(videos, out, "2/2")
    assert list(Targets(out).sources()) == ["0.mp4", "2.mp4", "3.mp4", "5.mp4"]
    label(videos, out)
    assert sorted(Targets(out).sources()) == [f"{number}.mp4" for number in (0, 1, 2, 3, 5)]
    label(videos, tmp_path / "other", "1/2")
    (videos / "5.mp4").unlink()  # It is labelled.
    assert label(videos, tmp_path / "other", "2/2").labelled == 2
    label(videos, tmp_path / "third", "1/2")
    (videos / "2.mp4").unlink()
    with pytest.raises(RunConflictError, match=r"2\.mp4, which the jobs of .* is not there any more"):
        label(videos, tmp_path / "third", "2/2")


def test_a_shard_that_was_refused_whole_is_tried_again(tmp_path: Path) -> None:
    """By the run that joins, once the video is another one; a job leaves it, whose shard is done."""
    videos, out = tmp_path / "videos", tmp_path / "out"
    make_video(videos / "0.mp4", ["red"])
    (videos / "1.mp4").write_text("this is no video")
    label(videos, out, "1/1", videos_per_part=1)
    assert label(videos, out, videos_per_part=1).failures.keys() == {"1.mp4"}
    (videos / "1.mp4").unlink()
    make_video(videos / "1.mp4", ["blue"])
    assert str(label(videos, out, "1/1", videos_per_part=1)).startswith(
        "job 1/1 did nothing, since nothing is left for jobs to do in"
    )
    assert label(videos, out, videos_per_part=1).failures == {}
    assert list(Targets(out).sources()) == ["0.mp4", "1.mp4"]
    assert not (out / "failures.csv").exists()


def test_a_job_that_starts_again_opens_no_part(videos: Path, whole: Path, tmp_path: Path) -> None:
    """What is damaged is told by who joins: the same job does it again."""
    out = tmp_path / "out"
    label(videos, out, "1/2")
    label(videos, out, "2/2")
    part = out / "parts" / min(file.name for file in part_files(out))
    part.write_bytes(b"damaged")
    assert all("did 0 shards" in str(label(videos, out, f"{number}/2")) for number in (1, 2))
    assert part.read_bytes() == b"damaged"
    with pytest.raises(RunConflictError, match=r"lacks 1 of 5 shards \(those that begin with"):
        join(out)
    told = [str(label(videos, out, f"{number}/2")) for number in (1, 2)]
    assert sum("did 1 shard " in each for each in told) == 1
    join(out)
    (damaged,) = (out / "parts").glob(f"*{part.name}*damaged*")
    damaged.unlink()
    assert contents(out) == contents(whole)


def test_a_job_after_the_join_leaves_all_as_it_is(tmp_path: Path) -> None:
    """Whoever removes the table of refusals then has these videos tried again."""
    videos, out = tmp_path / "videos", tmp_path / "out"
    make_video(videos / "0.mp4", ["red"])
    (videos / "1.mp4").write_text("this is no video")
    label(videos, out, "1/2")
    label(videos, out, "2/2")
    join(out)
    before = contents(out)
    told = str(label(videos, out, "2/2"))
    assert told == (
        f"job 2/2 did nothing, since nothing is left for jobs to do in {out}; the same command without --shard tries "
        "refused files again that have changed since"
    )
    assert contents(out) == before
    assert not (out / ".shared-by.json").exists()
    make_video(videos / "2.mp4", ["blue"])
    (out / "failures.csv").unlink()
    again = label(videos, out)
    assert (again.labelled, list(again.failures), again.remembered) == (2, ["1.mp4"], 0)


def test_a_video_that_two_runs_labelled_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """In a bucket, which has no locks, they may be at work on other lists at the same time."""
    runs, out = tmp_path / "runs", tmp_path / "runs" / "0" / "out"
    for run in (0, 1):
        for number in (run, run + 1):
            make_video(runs / f"{run}" / "videos" / f"{number}.mp4", ["red"])
        label(runs / f"{run}" / "videos", runs / f"{run}" / "out")
    (first,), (other,) = part_files(out), part_files(runs / "1" / "out")
    later = out / "parts" / other.name
    later.write_bytes(other.read_bytes())
    make_video(runs / "0" / "videos" / "2.mp4", ["red"])
    told = f"1.mp4 is labelled twice, in {first} and in {later}, by two runs at the same time; remove {later}, and run"
    with pytest.raises(FormatError) as refusal:
        label(runs / "0" / "videos", out)
    assert str(refusal.value).startswith(told)
    assert first.exists()
    assert later.exists()
    # What others have read before can be read still.
    assert len(Targets(out)) == 4
    assert [record.message.startswith(told) for record in caplog.records if "twice" in record.message] == [True]
    later.unlink()
    label(runs / "0" / "videos", out)
    assert list(Targets(out).sources()) == ["0.mp4", "1.mp4", "2.mp4"]


def test_a_run_that_goes_on_where_jobs_began_ends_their_plan(videos: Path, tmp_path: Path) -> None:
    """Killed before its end, it leaves none by which jobs would label what it has labelled."""
    out = tmp_path / "out"
    label(videos, out, "1/5")

    class Stop(MeanColour):
        calls = 0

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            Stop.calls += 1
            if Stop.calls > 2:
                raise KeyboardInterrupt
            return super().forward(images)

    stopping = Teacher(Stop(), plain, NAMES, TEACHER.identity)
    with pytest.raises(KeyboardInterrupt):
        label_videos(videos, {"objects": stopping}, out, videos_per_part=2)
    assert not (out / "shards.json").exists()
    done = sorted(Targets(out).sources())
    assert 2 < len(done) < 8
    label(videos, out, "1/1")
    label(videos, out)
    assert list(Targets(out).sources()) == sorted(f"{number}.mp4" for number in range(9) if number != 4)


def test_a_newer_format_is_not_gone_on_with(videos: Path, tmp_path: Path) -> None:
    label(videos, tmp_path / "out", "1/5")
    settings = read_json(tmp_path / "out" / "targets.json")
    write_json(tmp_path / "out" / "targets.json", {**settings, "format_version": 4})
    with pytest.raises(FormatError, match="has format version 4, this program reads 1, 2, 3; install a newer one"):
        label(videos, tmp_path / "out")


def test_other_settings_are_refused_by_every_job(videos: Path, tmp_path: Path) -> None:
    label(videos, tmp_path / "out", "5/5")
    with pytest.raises(RunConflictError, match="videos_per_part was 2, now 3"):
        label(videos, tmp_path / "out", "2/5", videos_per_part=3)


@pytest.mark.usefixtures("small_soundnet8")
@pytest.mark.parametrize("speeds", [(1.0,), (1.0, 0.8)])
def test_jobs_extract_what_one_run_extracts(tmp_path: Path, speeds: tuple[float, ...]) -> None:
    rng = np.random.default_rng(0)
    for number in range(11):
        noise = (rng.normal(size=RATE * (1 + number % 3) // 2) * 0.1).astype(np.float32)
        write_audio(tmp_path / "sounds" / f"{number}.wav", noise, RATE)
    (tmp_path / "sounds" / "7.wav").write_text("this is no sound")
    torch.manual_seed(0)
    network = SoundNet8({"objects": 3, "scenes": 2}, Preprocessing(least_samples=1)).eval()

    def hear(name: str, shard: str | None = None, batch_size: int = 1) -> str:
        options = {"layers": ["conv3", "pool5"], "speeds": speeds, "batch_size": batch_size, "device": "cpu"}
        return str(extract(tmp_path / "sounds", network, tmp_path / name, shard=shard, **options))  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache_writer, "SOUNDS_PER_PART", 2)
        hear("whole.h5")
        told = hear("shared.h5", "2/3")
        passes = len(speeds)
        assert told.startswith(f"job 2/3 did {2 * passes} shards ({(3 if passes == 1 else 6)} files, {passes} refused)")
        with pytest.raises(RunConflictError, match="batch_size was 1, now 4"):
            hear("shared.h5", "1/3", batch_size=4)
        hear("shared.h5", "1/3")
        assert not (tmp_path / "shared.h5").exists()
        assert hear("shared.h5", "1/3").startswith(f"job 1/3 did 0 shards (0 files), {2 * passes} were there")
        assert hear("shared.h5").startswith(f"wrote {tmp_path / 'shared.h5'}: 2 layers of 10 sounds, 1 skipped")
    assert (tmp_path / "shared.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()
    assert not (tmp_path / "shared.h5.parts").exists()


def claim(path: Path, value: int) -> bool:
    try:
        ensure_same_settings(path, {"value": value})
    except RunConflictError:
        return False
    return True


def test_settings_are_claimed_once(tmp_path: Path) -> None:
    """By eight processes at the same time: those of the first hold, all others are told."""
    with forks().Pool(8) as pool:
        claimed = pool.starmap(claim, [(tmp_path / "targets.json", number) for number in range(40)], chunksize=1)
    assert sum(claimed) == 1
    assert read_json(tmp_path / "targets.json") == {"value": claimed.index(True)}


def try_to_lock(folder: Path, job: str) -> bool:
    try:
        with lock_folder(folder, job):
            return True
    except RunConflictError:
        return False


def test_a_run_and_jobs_keep_out_of_each_others_way(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:

        def other(job: str) -> bool:
            return bool(pool.apply(try_to_lock, (tmp_path, job)))

        with lock_folder(tmp_path, "1-of-2"):
            assert [other(job) for job in ("", "1-of-2", "2-of-2", "2-of-3")] == [False, False, True, False]
        with lock_folder(tmp_path):
            assert not other("")
        assert all(other(job) for job in ("", "1-of-2", "2-of-2"))
    # Whoever ends takes his lock with him.
    assert [file.name for file in tmp_path.iterdir()] == [".lock"]


def hold_lock(folder: Path, job: str, held: Event) -> None:
    with lock_folder(folder, job):
        held.set()
        time.sleep(600)


def test_locks_of_jobs_that_were_killed_are_removed_by_the_next_run(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    killed = []
    for number in (1, 2, 3):
        held = context.Event()
        killed.append(context.Process(target=hold_lock, args=(tmp_path, f"{number}-of-3", held)))
        killed[-1].start()
        assert held.wait(60)
    for process in killed[:2]:
        process.kill()
        process.join()
    assert len(list(tmp_path.glob(".lock-*"))) == 3
    with pytest.raises(RunConflictError, match="of which job 3 of 3 still writes there"), lock_folder(tmp_path):
        pass
    assert [file.name for file in tmp_path.glob(".lock-*")] == [".lock-3-of-3"]
    killed[2].kill()
    killed[2].join()
    with lock_folder(tmp_path):
        assert [file.name for file in tmp_path.iterdir()] == [".lock"]


@pytest.mark.parametrize(
    ("numbers", "text"),
    [([3], "job 3 of 64"), ([9, 3, 7, 8, 9], "jobs 3, 7-9 of 64"), (range(1, 65), "jobs 1-64 of 64")],
)
def test_jobs_are_told_in_a_few_words(numbers: Iterable[int], text: str) -> None:
    assert spell_jobs(numbers, 64) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("3", "write it as 3/64, the third of 64 jobs"),
        ("a/2", "write it as 3/64"),
        ("0/4", "shard is 0/4; jobs are counted from 1/4 to 4/4"),
        ("5/4", "jobs are counted from 1/4 to 4/4"),
        ("0/0", "jobs are counted from 1/1"),
    ],
)
def test_what_is_no_job_is_refused(text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Job.parse(text)


def test_shards_end_by_number_and_by_size(tmp_path: Path) -> None:
    """And a stretch that begins where a shard does is cut as in the whole."""
    sizes = [5, 1, 1, 1, 9, 1, 1]
    files = [tmp_path / f"{number}" for number in range(len(sizes))]
    for file, size in zip(files, sizes, strict=True):
        file.write_bytes(bytes(size))
    names = [file.name for file in files]
    shards = cut(names, files, 3, most_bytes=6)
    assert [shard.ids for shard in shards] == [("0", "1"), ("2", "3", "4"), ("5", "6")]
    assert [shard.first for shard in shards] == [0, 2, 5]
    assert cut(names[2:], files[2:], 3, 2, 6) == shards[1:]
    assert cut([], [], 3) == []
    assert len({shard.name for shard in shards}) == 3
    assert shards[0].name == Shard(7, ("0", "1"), ()).name
