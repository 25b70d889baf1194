"""Files of a run that a crash of the machine has damaged: named, set aside, and made again from what is left."""

import io
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import h5py
import pytest

from soundnet_kd.errors import FormatError
from soundnet_kd.shards.shard import Shard
from soundnet_kd.storage import ensure_same_settings
from tests.kill_scenarios import HERTZ, SCENARIOS, begin, changes_of, inputs, left, start_again
from tests.kills import killed_before

WHOLE: dict[str, dict[str, object]] = {}


def wrong(file: Path) -> bytes:
    """Give a file that is whole, and something else."""
    buffer = io.BytesIO()
    if file.suffix == ".json":
        return json.dumps(["something", "else"]).encode()
    if file.suffix == ".h5":
        with h5py.File(buffer, "w") as made:
            made["something"] = [1, 2, 3]
    else:
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("something", "else")
    return buffer.getvalue()


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


DAMAGES: Mapping[str, Callable[[Path], bytes]] = {
    "cut short": lambda file: file.read_bytes()[: file.stat().st_size // 3],
    "empty": lambda file: b"",
    "garbage": lambda file: bytes(range(1, 256)) * 20,
    "zeros": lambda file: bytes(file.stat().st_size),
    "something else": wrong,
    "one bit": lambda file: flipped(file.read_bytes()),
}


ALL = ("cut short", "empty", "garbage", "zeros", "something else")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    base = tmp_path_factory.mktemp("damaged")
    with inputs(base):
        yield base


@pytest.fixture
def trial(folder: Path, request: pytest.FixtureRequest) -> Path:
    return folder / "".join(letter if letter.isalnum() else "-" for letter in request.node.name)


def whole(folder: Path, name: str) -> dict[str, object]:
    """Give what a run leaves that nothing happened to."""
    if name not in WHOLE:
        changes_of(SCENARIOS[name], folder / f"whole {name}")
        WHOLE[name] = left(folder / f"whole {name}")
    return WHOLE[name]


def rerun(name: str, trial: Path) -> str:
    """Start a command again and give what it says."""
    (trial / "log").unlink(missing_ok=True)
    status = start_again(SCENARIOS[name].arguments, trial)
    said = (trial / "log").read_text()
    assert status == 0, said
    return said


PART_OF = [f"part-{Shard(0, (f'{number}.mp4',), ()).name}.h5" for number in range(3)]
"""The parts of the scenario's videos."""
SOUNDS = sorted(f"{list(HERTZ)[number % 2]}/{number}.wav" for number in range(12))
SOUNDS_OF = [f"part-{Shard(0, tuple(SOUNDS[first : first + 4]), ()).name}.h5" for first in (0, 4, 8)]
"""Those of its sounds."""


def without_damaged(trial: Path) -> dict[str, object]:
    return {name: content for name, content in left(trial).items() if not name.endswith(".damaged")}


@pytest.mark.parametrize(
    ("name", "moment", "file", "damages", "then"),
    [
        ("extract", "open .partial-f.h5", f"f.h5.parts/{SOUNDS_OF[2]}", ALL, "its sounds are heard again"),
        ("extract", "open .partial-f.h5", f"f.h5.parts/{SOUNDS_OF[0]}", ["empty"], "its sounds are heard again"),
        ("teach", f"rename parts/.partial-{PART_OF[2]}", f"parts/{PART_OF[1]}", ALL,
         "its videos are labelled again"),
        ("distill", "open .partial-student.safetensors", "checkpoints/step=5.ckpt", (*ALL, "one bit"),
         "goes on from step 4"),
        ("finetune", "rename .folds/.partial-fold-2.json", ".folds/fold-1.json", ALL, "its network is trained again"),
        ("finetune", "rename .folds/.partial-fold-2.json", ".folds/fold-2/checkpoints/step=1.ckpt", ["cut short"],
         "begins anew"),
        ("finetune", "open .partial-history.csv", "classifier.safetensors", ["cut short", "empty"],
         "it is trained again"),
        ("finetune", "rename .folds/.partial-fold-2.json", ".sounds/failures.json", ["zeros"], "are decoded again"),
        ("train", "rename rounds/.partial-seed-1.json", "rounds/seed-0.json", ["zeros", "something else"],
         "its network is trained again"),
        ("train", "rename rounds/.partial-seed-1.json", "rounds/seed-1/checkpoints/best.ckpt", ["cut short"],
         "begins anew"),
    ],
)  # fmt: skip
def test_what_a_killed_run_left_is_damaged(
    name: str, moment: str, file: str, damages: list[str], then: str, folder: Path, trial: Path
) -> None:
    for number, damage in enumerate(damages):
        place = trial.with_name(f"{trial.name}-{number}")
        begin(SCENARIOS[name], place)
        assert start_again(SCENARIOS[name].arguments, place, killed_before(place / "out", moment)) == -9
        damaged = place / "out" / file
        damaged.write_bytes(DAMAGES[damage](damaged))
        said = rerun(name, place)
        (line,) = [line for line in said.splitlines() if "set aside" in line][:1]
        assert damaged.name in line, damage
        assert then in line, damage
        assert without_damaged(place) == whole(folder, name), damage


def test_a_training_without_a_checkpoint_begins_anew_and_a_student_is_kept(folder: Path, trial: Path) -> None:
    """All checkpoints are cut short: with the student the run is done; without it, all of it is done again."""
    changes_of(SCENARIOS["distill"], trial)
    out = trial / "out"
    student = (out / "student.safetensors").read_bytes()
    for file in (out / "checkpoints").glob("step=*.ckpt"):
        file.write_bytes(file.read_bytes()[:1000])
    said = rerun("distill", trial)
    assert "5 steps" in said.splitlines()[-1]
    assert "step=5.ckpt is damaged and was set aside as step=5.ckpt.damaged; student.safetensors is whole" in said
    assert "anew" not in said
    assert (out / "student.safetensors").read_bytes() == student
    (out / "student.safetensors").unlink()
    (out / "untrained.safetensors").write_bytes(b"")
    (out / "checkpoints" / "step=5.ckpt").touch()
    said = rerun("distill", trial)
    assert "step=5.ckpt is damaged and was set aside as step=5.ckpt.damaged; the training begins anew" in said
    assert without_damaged(trial) == whole(folder, "distill")


def test_the_best_of_a_run_without_steps_left_is_not_promised_again(folder: Path, trial: Path) -> None:
    changes_of(SCENARIOS["distill"], trial)
    (trial / "out" / "student.safetensors").unlink()
    best = trial / "out" / "checkpoints" / "best.ckpt"
    best.write_bytes(best.read_bytes()[:1000])
    assert "best.ckpt is damaged and was set aside as best.ckpt.damaged; no step is left to" in rerun("distill", trial)


@pytest.mark.parametrize("name", ["finetune", "train"])
def test_a_classifier_of_a_run_that_is_done_is_made_again(name: str, folder: Path, trial: Path) -> None:
    """Damaged it is set aside; who then removes it, as reading it says, gets another one too."""
    changes_of(SCENARIOS[name], trial)
    classifier = trial / "out" / "classifier.safetensors"
    classifier.write_bytes(b"nothing")
    assert "classifier.safetensors is damaged and was set aside" in rerun(name, trial)
    assert without_damaged(trial) == whole(folder, name)
    classifier.unlink()
    rerun(name, trial)
    assert without_damaged(trial) == whole(folder, name)


@pytest.mark.parametrize("content", [b"", b"\0\0\0\0", b'{"a": 1', b"[1]", b"null"])
def test_damaged_settings_are_told_or_written_again(content: bytes, tmp_path: Path) -> None:
    """Beside other files nobody knows what made these; where there is nothing else, nothing is lost."""
    ensure_same_settings(tmp_path / "run.json", {"seed": 1})
    (tmp_path / "run.json").write_bytes(content)
    ensure_same_settings(tmp_path / "run.json", {"seed": 1})
    assert json.loads((tmp_path / "run.json").read_text()) == {"seed": 1}
    assert (tmp_path / "run.json.damaged").read_bytes() == content
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(FormatError, match=r"run\.json is damaged .*; delete it if they were made with the settings"):
        ensure_same_settings(tmp_path / "run.json", {"seed": 1})


def test_results_that_hold_something_else_are_told(folder: Path, trial: Path) -> None:
    changes_of(SCENARIOS["finetune"], trial)
    (trial / "out" / "results.json").write_text("{}")
    (trial / "log").unlink()
    assert start_again(SCENARIOS["finetune"].arguments, trial) == 1
    assert "results.json does not hold the results of a run; delete it and run" in (trial / "log").read_text()
