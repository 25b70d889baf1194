"""The README and the site's pages do what they say: each code block runs, on small data of the layouts that it names.

A block that is not named here fails the first test. What of a command is changed, so that it is short and needs no
network, stands in `SHORTER` and `SHORT`; what is only read by the command's parser, and why, in `READ_ONLY`. The README
shows nothing that no page shows.
"""

import re
import shlex
import shutil
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from soundnet_kd import FeatureCache, SoundNet8
from soundnet_kd.cli import main
from soundnet_kd.cli.arguments import parse
from soundnet_kd.cli.table import COMMANDS
from soundnet_kd.commands.demo_teacher import demo_teacher
from soundnet_kd.commands.demo_world import demo_world
from soundnet_kd.config.recipes import read_recipe
from soundnet_kd.media import write_audio
from soundnet_kd.models.checkpoint import read_network
from tests.media_files import sine
from tests.small_student import BLOCKS
from tests.teachers.colours import MeanColour, plain

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {
    name: (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    for name in (
        *("install", "quickstart", "route", "videos", "students", "many_machines", "features", "suites", "export"),
        *("protocols", "classifiers", "page", "recipes", "file_formats", "architecture", "performance", "reliability"),
    )
}
"""The site's pages that have commands and code, in a reader's order; its gallery is run where the site is built."""
HERTZ = {"cat": 500.0, "dog": 1200.0, "rain": 3000.0}
RATE = 22_050


@dataclass(frozen=True)
class CodeBlock:
    """A block of a page: its language, and its lines, of which a backslash has joined some."""

    language: str
    text: str

    @property
    def first(self) -> str:
        return self.text.splitlines()[0]

    @property
    def commands(self) -> list[list[str]]:
        """The words of each of the shell's commands, without comments."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [shlex.split(part, comments=True) for line in lines for part in re.split(r"&&|\|", line)]


FENCED = re.compile(r"^```(\{?\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks_in(page: str) -> list[CodeBlock]:
    """Blocks of code; what begins with a brace is for the site's builder."""
    return [CodeBlock(language, text) for language, text in FENCED.findall(page) if not language.startswith("{")]


BLOCKS_OF_CODE = [block for page in PAGES.values() for block in blocks_in(page)]

INSTALLS = {
    "pip install -e .",
    "uv venv && uv pip install -e .",
    "pip install -e . && soundnet-kd quickstart",
    'pip install -e ".[test]" && pytest',
    'pip install -e ".[docs]" && sphinx-build -W -b html docs build/docs',
}
"""How the package is installed; tests/demo runs the quickstart, .ci/run makes the site, and whoever reads this has run
pytest."""

PICTURES = {
    "chainsaw.flac  0-5 s",
    "videos ─ media ─► frames ─ teachers ─► object and scene distributions ┐",
    "soundnet_kd/",
}
"""Blocks that are no code."""

READ_ONLY = {
    "soundnet-kd predict chainsaw.flac --top 3       # which objects and places it hears",
    "soundnet-kd run pipelines/distill_videos.yaml --set videos=videos/ --out run",
    "soundnet-kd run distill_strong --set videos=videos/ objects=resnet50:IMAGENET1K_V2 --out run/strong",
    "soundnet-kd teach 'shards/{00000..01234}.tar' --out run/targets --objects resnet50:IMAGENET1K_V2",
    "ffmpeg -loglevel error -f alsa -i default -f wav - | soundnet-kd predict - --json | tee heard.jsonl",
    "soundnet-kd teach s3://bucket/videos --out s3://bucket/targets --objects resnet50:IMAGENET1K_V2 --shard 3/64",
}
"""What takes hours, released weights, a bucket or a microphone; tests/commands/test_run.py and tests/demo run what the
recipes are made of, tests/pretrained/test_released.py asks for the answer that is printed, tests/media/test_remote.py,
tests/teachers/test_stored_targets.py and tests/commands/test_distill_stored.py have a bucket."""

LAUNCHERS = {"#!/bin/bash", "array=$(sbatch --parsable teach.sh)"}
"""Scripts for a cluster, of which only our commands are read."""

ELSEWHERE = {'import { InferenceSession, Tensor } from "onnxruntime-node";'}
"""Blocks for other languages."""

STREAMS = {"import subprocess"}
"""Blocks that start a process, which knows no small network; tests/commands/test_predict_arriving.py sends the like."""

OF_SUITES = {
    "python -m tests.benchmarks.suites maeb|xares|hear ESC-50/ --esc10 --student soundnet8 --features mean|sqrt",
    "from soundnet_kd.interfaces.hear_grid import evaluate_task",
    "import mteb",
    '# encoder.py; frame_encoder("run/student") is for tasks of frames',
    "python -m xares.run encoder.py tasks/esc50_task.py",
    "from perch_hoplite.agile import embed, source_info",
}
"""Blocks that need another suite or its data; tests/interfaces does with the suites what they show."""

RUN = [
    "soundnet-kd teach videos/ --out run/targets --objects resnet50:IMAGENET1K_V2 --scenes resnet18:PLACES365",
    "from pathlib import Path",
    "soundnet-kd distill run/targets --out run/student --steps 10000",
    "soundnet-kd distill run/targets --out run/student --precision bf16 --devices 4 --batch_size 256 --schedule cosine",
    "soundnet-kd teach videos/ --out run/shared --objects resnet50:IMAGENET1K_V2 --shard 3/64  # the third of 64 jobs",
    "soundnet-kd extract sounds/ --student run/student --out features.h5 --layers conv5 pool5",
    "from soundnet_kd import FeatureCache",
    "soundnet-kd predict dog.wav --student run/student --top 3",
    "from sklearn.pipeline import make_pipeline",
    "soundnet-kd export run/student --out student.onnx --outputs pool5 objects",
    "import json",
    "soundnet-kd extract ESC-50/ --student run/student --out esc50.h5",
    "from soundnet_kd import cross_validate",
    "soundnet-kd finetune ESC-50/ --student run/student --out finetuned",
    "soundnet-kd train cats_dogs --data cats_dogs/ --out run/cats_dogs",
    "soundnet-kd neurons esc50.h5 --out neurons                       # classes of every neuron, against chance",
    "soundnet-kd report run/esc50                # the folder that a recipe or the commands above wrote to",
]
"""Blocks that are run, in this order, by a reader who begins at the top."""

APART = {RUN[1], RUN[3]}
"""Blocks that do what was done before in another way, and so need a folder of their own."""

SHORTER = {
    "resnet50:IMAGENET1K_V2": "objects.safetensors",
    "resnet18:PLACES365": "scenes.safetensors",
    "--shard 3/64": "--shard 1/1",
    "--devices 4": "--devices 1",
    "--init soundnet8": "--init run/student",
    "network=NSynthSimple": "network=NSynthSimple training.epochs=1",
    "training.epochs=20 seeds=[0,1,2]": "training.epochs=1 seeds=[0]",
    "--out run/cats_dogs": "--out run/cats_dogs --set training.epochs=1 seeds=[0]",
}
"""What stands in a command, and what is run in its place."""

SHORT = {
    "distill": "--steps 2 --batch_size 2",
    "finetune": "--epochs 1 --batch_size 5 --crop_seconds 1",
}
"""What a command is given besides."""


def block_of(first: str) -> CodeBlock:
    (found,) = (block for block in BLOCKS_OF_CODE if block.first == first)
    return found


def test_every_block_is_dealt_with_in_one_way() -> None:
    firsts = [block.first for block in BLOCKS_OF_CODE]
    assert len(set(firsts)) == len(firsts)
    others = [*INSTALLS, *PICTURES, *READ_ONLY, *LAUNCHERS, *ELSEWHERE, *STREAMS, *OF_SUITES]
    assert sorted([*others, *RUN]) == sorted(firsts)
    assert [first for first in firsts if first in RUN] == RUN
    for block in BLOCKS_OF_CODE:
        assert (block.language == "text") == (block.first in PICTURES), block.first
        assert block.language in ("sh", "python", "javascript", "text"), block.first
        assert (block.language == "javascript") == (block.first in ELSEWHERE), block.first
    commands = "\n".join(block.text for block in BLOCKS_OF_CODE if block.first in RUN)
    assert [part for part in SHORTER if part not in commands] == []


def test_the_readme_is_short_and_shows_what_the_pages_show() -> None:
    assert len(README.splitlines()) <= 150
    shown = [words for block in BLOCKS_OF_CODE if block.language == "sh" for words in block.commands]
    for block in blocks_in(README):
        if block.language == "sh":
            assert [words for words in block.commands if words not in shown] == []
        else:
            assert block in BLOCKS_OF_CODE
    assert block_of('pip install -e ".[test]" && pytest') in blocks_in(README)  # .ci/run takes it from there


def test_links_of_the_readme_lead_somewhere() -> None:
    links = [each for each in re.findall(r"\]\(([^)]+)\)", README) if not each.startswith("http")]
    assert len(links) > 20
    for link in links:
        path, _, heading = link.partition("#")
        assert (ROOT / path).exists(), link
        headings = re.findall(r"^#+ (.+)$", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE) if heading else ()
        assert not heading or heading in [each.lower().replace(" ", "-") for each in headings], link


def test_what_is_installed_is_there() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for first in INSTALLS:
        for words in block_of(first).commands:
            if "install" in words:
                assert words[words.index("pip") :][:3] == ["pip", "install", "-e"]
                assert re.fullmatch(r"\.(\[(\w+)\])?", words[-1])
                assert words[-1] == "." or words[-1][2:-1] in extras
            else:
                others = (["pytest"], ["soundnet-kd", "quickstart"], ["uv", "venv"])
                assert words[0] == "sphinx-build" or words in others
    named = re.findall(r"^\| (`.+?) \|", PAGES["install"], re.MULTILINE)
    assert {*re.findall(r"`(\w+)`", " ".join(named))} == {*extras}


def test_commands_that_are_only_read_are_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for first in READ_ONLY:
        # What is piped to a command, or from it, is another program's.
        ours = [words for words in block_of(first).commands if words[0] not in ("ffmpeg", "tee")]
        assert ours
        for words in ours:
            require_command(words)


def test_commands_of_jobs_on_a_cluster_are_ones() -> None:
    for first in LAUNCHERS:
        text = block_of(first).text.replace("\\\n", " ").replace('"$SLURM_ARRAY_TASK_ID/64"', "3/64")
        found = re.findall(r"soundnet-kd [^\n\"]+", text)
        assert found, first
        for command in found:
            require_command(shlex.split(command))


def test_commands_in_the_text_are_ones() -> None:
    """Those that are no whole command, with FILE in place of a file or just a name, are looked up and no more."""
    prose = FENCED.sub("", "\n".join([README, *PAGES.values()])).replace("\n", " ")
    found = [shlex.split(each) for each in re.findall(r"`soundnet-kd ([^`]+)`", prose)]
    assert len(found) >= 8
    for words in found:
        if words[0] == "--version":
            assert words[1:] in ([], ["--verbose"])
        elif len(words) == 1 or words[-1] == "--help" or any(re.fullmatch(r"[A-Z]+", word) for word in words):
            name = words[0] if words[0] in COMMANDS else " ".join(words[:2])
            assert name == "COMMAND --help" or name in COMMANDS
        elif words != ["weights", "list"]:
            require_command(["soundnet-kd", *words])


def test_what_contributors_are_sent_to_is_there() -> None:
    table = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Where to change what")[2]
    named = [
        each for each in re.findall(r"`([a-z_0-9]+/[^ `]*)`", table.partition("## Words")[0]) if "NAME" not in each
    ]
    assert len(named) > 20
    assert [each for each in named if not ((ROOT / "soundnet_kd" / each).exists() or (ROOT / each).exists())] == []


def test_the_table_of_commands_has_all() -> None:
    listed = " ".join(re.findall(r"^\| (`[^|]+) \|", PAGES["route"], re.MULTILINE))
    for name in COMMANDS:
        # The two that make the demonstration world are the quickstart's.
        assert name.startswith("demo-") or re.search(rf"`({name}|{name.removeprefix('weights ')})[ `]", listed), name


def require_command(words: list[str]) -> None:
    """Read a command as the program does; a recipe has the variables that it is given."""
    assert words[0] == "soundnet-kd"
    name = words[1] if words[1] in COMMANDS else " ".join(words[1:3])
    values = parse(name, words[1 + len(name.split()) :])
    if name == "run":
        variables = read_recipe(values["recipe"]).variables
        for assignment in values["overrides"] or ():
            assert assignment.partition("=")[0] in variables, words


@pytest.fixture(scope="module")
def small_network() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SoundNet8, "blocks", BLOCKS)
        yield


@pytest.fixture
def place(small_network: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what a reader would have: videos, sounds, data sets, teachers."""
    monkeypatch.chdir(tmp_path)
    demo_world("world", videos=2, frames_per_event=2, sounds_per_event=1, workers=1)
    for head in ("objects", "scenes"):
        demo_teacher(f"world/frames/{head}", f"{head}.safetensors", epochs=1)
    shutil.move("world/videos", "videos")
    for name, hertz in HERTZ.items():
        for number in range(2):
            write_audio(f"sounds/{name}/{number}.wav", sine(hertz, 1.0, RATE, 0.5), RATE)
        write_audio(f"a/{name}.wav", sine(hertz, 1.0, RATE, 0.5), RATE)
    shutil.copy("a/dog.wav", "dog.wav")
    rows = ["filename,fold,target,category,esc10,src_file,take"]
    for label, (name, hertz) in enumerate(HERTZ.items()):
        for number in range(10):
            file = f"{number % 5 + 1}-{100 * label + number}-A-{label}.wav"
            write_audio(f"ESC-50/audio/{file}", sine(hertz * (1 + number / 50), 1.0, RATE, 0.5), RATE)
            rows.append(f"{file},{number % 5 + 1},{label},{name},False,{100 * label + number},A")
    Path("ESC-50/meta").mkdir()
    Path("ESC-50/meta/esc50.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    names = [f"{animal}_{number}" for animal in ("cat", "dog_barking") for number in range(20, 28)]
    tested = [*(f"cat_{number}" for number in range(163, 168)), *(f"dog_barking_{number}" for number in range(5))]
    for name in (*names, *tested):
        write_audio(f"cats_dogs/{name}.wav", sine(HERTZ[name[:3]], 1.5, 16_000, 0.6), 16_000)
    for part in ("nsynth-valid", "nsynth-test"):
        about = {}
        for family, hertz in {"bass": 110.0, "flute": 1600.0}.items():
            for number in range(4):
                name = f"{family}_acoustic_{number:03}-060-100"
                about[name] = f'"{name}": {{"instrument_family_str": "{family}", "instrument_str": "{name[:-8]}"}}'
                write_audio(f"NSynth/{part}/audio/{name}.wav", sine(hertz, 4.0, 16_000, 0.6), 16_000)
        Path(f"NSynth/{part}/examples.json").write_text(f"{{{', '.join(about.values())}}}", encoding="utf-8")
    return tmp_path


def esc50_run() -> None:
    """Bring what the commands before wrote to one folder, as a recipe does."""
    Path("run/esc50").mkdir()
    for name in ("esc50.h5", "results", "neurons", "maps"):
        shutil.move(name, f"run/esc50/{name}")


BEFORE: dict[str, Callable[[], None]] = {RUN[-1]: esc50_run}


def esc50_features() -> dict[str, Any]:
    """Give what an earlier block has read, of a data set that has folds."""
    with FeatureCache("esc50.h5") as cache:
        return {"X": cache["pool5"], "y": cache.labels, "folds": cache.folds}


GIVEN: dict[str, Callable[[], dict[str, Any]]] = {
    RUN[1]: lambda: {"network": MeanColour(), "transform": plain},
    "from soundnet_kd import cross_validate": esc50_features,
}
"""What a block of Python takes for granted."""


@contextmanager
def apart(name: str) -> Iterator[None]:
    """Work in another folder, which has the videos and their labels too."""
    with pytest.MonkeyPatch.context() as patch:
        there = Path(name).resolve()
        shutil.copytree("videos", there / "videos")
        if name != "python":
            shutil.copytree("run/targets", there / "run" / "targets")
        patch.chdir(there)
        yield


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_reader_can_run_the_pages_from_their_beginning_to_their_end(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for first in RUN:
        block = block_of(first)
        BEFORE.get(first, lambda: None)()
        if first in APART:
            with apart(block.language):
                run_block(block, capsys)
        else:
            run_block(block, capsys)
    assert read_network("finetuned").class_names == {"classes": tuple(HERTZ)}
    assert read_network("finetuned/classifier.safetensors").class_names == {"classes": tuple(HERTZ)}
    for written in (
        *("features.h5", "run/student/student.safetensors", "comparison.csv", "gain.csv", "ranking/ranking.md"),
        *("run/cats_dogs/results.json", "run/nsynth/results.json", "run/scratch/results.json", "peeled/peel.h5"),
        *("run/esc50/report/index.html", "run/esc50/maps/map_pool5.html"),
    ):
        assert Path(written).is_file(), written


def run_block(block: CodeBlock, capsys: pytest.CaptureFixture[str]) -> None:
    if block.language == "python":
        exec(compile(block.text, block.first, "exec"), GIVEN.get(block.first, dict)())
        return
    for words in block.commands:
        command = shlex.join(words)
        assert words[0] == "soundnet-kd", command
        require_command(words)
        for part, other in SHORTER.items():
            command = re.sub(rf"{re.escape(part)}(?!\S)", other, command.replace("'", ""))
        status = main([*shlex.split(command)[1:], *shlex.split(SHORT.get(words[1], ""))])
        told = capsys.readouterr()
        assert status == 0, f"{command}\n{told.err}"
        assert told.out.strip(), command
