"""Small runs of the commands that write, each to be killed at any moment and started again."""

import csv
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from safetensors import safe_open

from tests.analysis.caches import write_cache
from tests.kills import killed_before_change, told_changes
from tests.media_files import sine
from tests.processes import run_command
from tests.small_student import make_small, small_soundnet8

RATE = 22_050
HERTZ = {"deep": 200.0, "high": 4000.0}
TIMES = ("seconds", "training_seconds", "train/clips_per_second", "train/data_wait_share")
"""What differs from one run to the next in any case."""
LEFT_OUT = (".lock", ".index.h5", "events.", "hparams.yaml")


@dataclass(frozen=True)
class Scenario:
    """A command to be killed.

    Attributes
    ----------
    arguments : str
        Of `soundnet-kd`, from the folder of a trial, in which `../inputs` is that of the inputs.
    before : tuple of str
        Commands that make what it needs beside these.
    """

    arguments: str
    before: tuple[str, ...] = ()


def _train(options: str) -> str:
    return (
        f"train cats_dogs --data ../inputs/animals --out out --device cpu --checkpoint_minutes 0 --set {options} "
        "sampling.segments.seconds=0.125 sampling.segments.steps_per_epoch=2 sampling.segments.validation_steps=1 "
        "training.batch_size=4 training.epochs=2 data.cats_dogs.test=[cat_90,dog_90]"
    )


EXTRACT = (
    "extract ../inputs/sounds --student ../inputs/student.safetensors --layers conv3 pool5 --device cpu --out out/f.h5"
)
SCENARIOS: Mapping[str, Scenario] = {
    "extract": Scenario(f"{EXTRACT} --sequences --batch_size 2"),
    "teach": Scenario(
        "teach ../inputs/videos --objects squeezenet1_0:../inputs/teacher.pth --object_classes ../inputs/classes.txt "
        "--videos_per_part 1 --device cpu --out out"
    ),
    "distill": Scenario(
        "distill ../inputs/targets --steps 5 --batch_size 2 --held_out 0.3 --checkpoint_minutes 0 --device cpu "
        "--out out"
    ),
    "distill features": Scenario(
        "distill ../inputs/seen --objectives kl:1 match:1 contrast:1 relation:1 --projection.width 8 "
        "--contrast.queue 5 --average 0.5 --steps 5 --batch_size 2 --held_out 0.3 --checkpoint_minutes 0 --device cpu "
        "--out out"
    ),
    "finetune": Scenario(
        "finetune ../inputs/sounds.csv --student ../inputs/student.safetensors --layer conv4 --crop_seconds 0.25 "
        "--batch_size 6 --epochs 1 --checkpoint_minutes 0 --device cpu --out out"
    ),
    "finetune kept": Scenario(
        "finetune ../inputs/sounds.csv --student ../inputs/student.safetensors --layer conv4 --from_layer conv4 "
        "--head roots --speeds 0.8 1 --variants 2 --crop_seconds 0.25 --batch_size 6 --epochs 1 --folds_only "
        "--checkpoint_minutes 0 --device cpu --out out"
    ),
    "train": Scenario(_train("seeds=[0,1]")),
    "train weights": Scenario(_train("seeds=[0]") + " --weights ../inputs/cats.safetensors"),
    "evaluate": Scenario("evaluate ../inputs/features.h5 --out out"),
    "neurons": Scenario("neurons ../inputs/features.h5 --out out --shuffles 20"),
    "project": Scenario("project ../inputs/features.h5 --layers pool5 --out out"),
    "peel": Scenario("peel ../inputs/sounds/deep/0.wav --student ../inputs/five.safetensors --out out"),
    "explore": Scenario("explore ../inputs/sounds --out out"),
    "report": Scenario(
        "report out", ("evaluate ../inputs/features.h5 --out out/e", "neurons ../inputs/features.h5 --out out/n")
    ),
    "compare": Scenario("compare ../inputs/evaluated --baseline ../inputs/evaluated --out out/compared.csv"),
    "rank": Scenario("rank ../inputs/evaluated --out out"),
    "predict": Scenario(
        "predict ../inputs/sounds --student ../inputs/student.safetensors --device cpu --out out/p.csv"
    ),
    "run": Scenario("run ../inputs/recipe.yaml --out out"),
    "weights fetch": Scenario("weights fetch resnet18:PLACES365"),
    "weights import": Scenario("weights import ../inputs/student.safetensors --as mine"),
    "demo-world": Scenario("demo-world --videos 1 --frames_per_event 1 --sounds_per_event 1 --workers 1 --out out"),
    "demo-teacher": Scenario("demo-teacher ../inputs/frames --input_size 32 --epochs 1 --out out/t.safetensors"),
}


@contextmanager
def inputs(folder: Path) -> Iterator[Path]:
    """Make what the scenarios read, in `inputs` of a folder, and serve what they fetch."""
    from soundnet_kd.commands.evaluate import evaluate
    from soundnet_kd.media import write_audio
    from soundnet_kd.models import Preprocessing, SoundNet5, SoundNet8, write_network
    from soundnet_kd.models.classifiers import CatsDogs
    from tests.pretrained.places365 import constants, write_published
    from tests.pretrained.serving import serve
    from tests.targets import make_clip, make_targets
    from tests.teachers.colours import make_video

    made = folder / "inputs"
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    rows = []
    for number in range(12):
        name = list(HERTZ)[number % 2]
        tone = sine(HERTZ[name] * (1 + number / 200), 0.5 + number / 100, RATE, 0.3)
        write_audio(made / "sounds" / name / f"{number}.wav", tone, RATE)
        rows.append(f"sounds/{name}/{number}.wav,{name},{1 + number // 2 % 2}")
    (made / "sounds.csv").write_text("\n".join(["path,label,fold", *rows]) + "\n")
    for number in (*range(4), 90):
        for name, hertz in (("cat", 1500.0), ("dog", 150.0)):
            tone = sine(hertz * (1 + number / 100), 0.4, 16_000, 0.5)
            write_audio(made / "animals" / f"{name}_{number}.wav", tone, 16_000)
    for number, colour in enumerate(("red", "green", "blue")):
        make_video(made / "videos" / f"{number}.mp4", [colour])
    from torchvision.models import squeezenet1_0

    torch.manual_seed(0)
    torch.save(squeezenet1_0(num_classes=2).state_dict(), made / "teacher.pth")
    (made / "classes.txt").write_text("one\ntwo\n")
    clips = [make_clip(f"{number}.mp4", 1 + number % 2, rng) for number in range(6)]
    make_targets(made / "targets", clips)
    seen = [{"objects": rng.normal(size=(len(clip.frame_seconds), 6)).astype(np.float32)} for clip in clips]
    make_targets(made / "seen", [replace(clip, features=each) for clip, each in zip(clips, seen, strict=True)])
    write_network(SoundNet5({"objects": 2}).eval(), made / "five.safetensors", {})
    write_network(CatsDogs(("dog",)).eval(), made / "cats.safetensors", {})
    layers = {name: rng.normal(size=(12, 8)).astype(np.float32) for name in ("conv3", "pool5")}
    labels = [number % 2 for number in range(12)]
    paths = [made / "sounds" / list(HERTZ)[label] / f"{number}.wav" for number, label in enumerate(labels)]
    write_cache(
        made / "features.h5", layers, labels, [1 + n // 2 % 2 for n in range(12)], tuple(HERTZ), paths, "SoundNet8"
    )
    evaluate(made / "features.h5", made / "evaluated")
    steps = [
        {"extract": {"sounds": "../inputs/sounds", "student": "../inputs/student.safetensors", "out": "${out}/f.h5",
                     "layers": ["pool5"], "device": "cpu"}},
        {"evaluate": {"features": "${out}/f.h5", "out": "${out}/e"}},
    ]  # fmt: skip
    (made / "recipe.yaml").write_text(
        yaml.safe_dump({"about": "two steps", "variables": {"out": None}, "steps": steps})
    )
    from PIL import Image

    for name, shade in (("dark", 30), ("light", 200)):
        for number in range(6):
            (made / "frames" / name).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (32, 32), (shade + number, shade, shade)).save(made / "frames" / name / f"{number}.png")
    with small_soundnet8(), serve(folder / "site") as site:
        write_network(
            SoundNet8({"objects": 3}, Preprocessing(least_samples=1)).eval(), made / "student.safetensors", {}
        )
        write_published(folder / "site" / "resnet18_places365.pth.tar", "resnet18", constants("resnet18"))
        (made / "site").write_text(site.url)
        yield made


def prepare(trial: Path, listen: Callable[[], None] | None) -> None:
    """Make a process one that runs a scenario: in its folder, with small networks, and small parts."""
    from soundnet_kd.features import cache_writer as writing

    os.chdir(trial)
    make_small()
    torch.set_num_threads(1)
    writing.SOUNDS_PER_PART = 4
    os.environ |= {
        "SOUNDNET_KD_CACHE": str(trial / "out"),
        "SOUNDNET_KD_MIRROR": (trial.parent / "inputs" / "site").read_text(),
        "no_proxy": "127.0.0.1",
    }
    if listen is not None:
        listen()


def start_again(arguments: str, trial: Path, listen: Callable[[], None] | None = None) -> int | None:
    """Run a command in the folder of a trial and give its exit status."""
    return run_command(arguments.split(), trial / "log", partial(prepare, trial, listen))


def changes_of(scenario: Scenario, trial: Path) -> list[str]:
    """Run a scenario to its end and give the changes that it makes to files."""
    begin(scenario, trial)
    log = trial / "changes"
    status = start_again(scenario.arguments, trial, told_changes(trial / "out", log))
    assert status == 0, (trial / "log").read_text()
    return log.read_text().splitlines()


def begin(scenario: Scenario, trial: Path) -> None:
    """Make the folder of a trial, and what its command needs."""
    (trial / "out").mkdir(parents=True)
    for command in scenario.before:
        assert start_again(command, trial) == 0, (trial / "log").read_text()


def kill_and_go_on(scenario: Scenario, trial: Path, number: int) -> str | None:
    """Kill a command before a change, start it again, and give what is wrong with that; None if it was not killed."""
    begin(scenario, trial)
    status = start_again(scenario.arguments, trial, killed_before_change(trial / "out", number))
    if status == 0:
        return None
    assert status == -9, (trial / "log").read_text()
    status = start_again(scenario.arguments, trial)
    return "" if status == 0 else f"ended with {status}: {(trial / 'log').read_text().strip().splitlines()[-1]}"


def left(trial: Path) -> dict[str, Any]:
    """Give what a trial left, each file in a form that can be compared, without times."""
    files = (file for file in (trial / "out").rglob("*") if not file.is_dir())
    return {
        file.relative_to(trial).as_posix(): _plain(file)
        for file in files
        if not file.name.startswith(LEFT_OUT) and "version_" not in str(file.parent)
    }


def _plain(file: Path) -> Any:
    if file.suffix == ".json":
        return _timeless(json.loads(file.read_text()))
    if file.suffix == ".csv":
        rows = csv.DictReader(io.StringIO(file.read_text()))
        return [{name: value for name, value in row.items() if name not in TIMES} for row in rows]
    if file.suffix == ".safetensors":
        # The order of the metadata in the file is another one each time.
        with safe_open(file, framework="np") as opened:
            tensors = {name: opened.get_tensor(name).tobytes() for name in opened.keys()}  # noqa: SIM118
            return _timeless(opened.metadata()), tensors
    if file.suffix == ".ckpt":
        state = torch.load(file, weights_only=True)["state_dict"]
        return {name: tensor.numpy().tobytes() for name, tensor in state.items()}
    return file.read_bytes()


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(each) for key, each in value.items() if key not in TIMES}
    return [_timeless(each) for each in value] if isinstance(value, list) else value


def clear(trial: Path) -> None:
    """Remove the folder of a trial."""
    shutil.rmtree(trial)
