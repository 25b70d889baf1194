"""Make `files.tar.xz`: files that version 0.1.0 wrote, and what it answered when it read them again.

To be run with the code of version 0.1.0, which was done once (the last commit of that structure is 75994fc):

    git worktree add ../version_0_1_0 75994fc
    OMP_NUM_THREADS=1 PYTHONPATH=../version_0_1_0 python tests/version_0_1_0/make.py

All is made up. What the commands trained is as they left it where it is small; large networks have the weights of a
short pattern over and over, so that they are small in an archive, and were written by the functions that the commands
write with. The modules of version 0.1.0 are imported by their names then, which are other ones now.

Folders of the archive
----------------------
sounds/, sounds.csv, tags.csv   four short sounds of each of two classes, and their tables
students/                       eight/ (a run folder) and five.safetensors
cache/                          the user's cache, with the student "imported"
networks/NETWORK/               a classifier.safetensors of each network from scratch
finetuned/, fresh/              runs of `finetune`: a student with a head on pool1, one from scratch with it on conv1
deep/                           a student with a head on its usual layer, as `finetune` writes it
trained/, tagged/               runs of `train`: two folds, and a network for each of two tags
targets/                        what `teach` wrote of a video of 40 s
features/, results/, ranking/, neurons/, maps/, peel/   runs of extract, evaluate, compare, rank, neurons, project, peel
half/                           runs that were killed: distill, finetune, train, extract
answers/                        what version 0.1.0 answered: `predict --json`, features and peeled sounds, and what the
                                runs of half/ came to when it went on with them
"""

import csv
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable
from contextlib import redirect_stdout
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from soundnet_kd.cli import main

ARCHIVE = Path(__file__).with_name("files.tar.xz")
RATE = 22_050
PERIOD = 4099
"""Numbers of the pattern; a prime, so that it begins anew at another place of each filter."""
CLASSES = {"low": 147, "high": 21}
"""Samples of a period of the first sound of each class."""
HEADS = {"objects": ["bell", "dog", "rain"], "scenes": ["forest", "street"]}
ONE = "sounds/low_2.wav"
"""The sound that all networks hear."""
CHANNELS = 24
"""How many of each layer are kept."""
STUDENTS = {"eight": "students/eight", "five": "students/five.safetensors"}
NETWORKS = {
    "CatsDogs": ["low", "high"],
    "FilmGenres": ["low"],
    "FilmGenresRecurrent": ["low", "high"],
    "LightCNN": ["low", "high"],
    "NSynthBetter": ["low", "high"],
    "NSynthSimple": ["low", "high"],
    "WavCeption": ["low", "high"],
}
FINETUNE = (
    "finetune sounds.csv --student students/eight --layer pool1 --crop_seconds 0.25 --batch_size 3 --epochs 2 "
    "--device cpu --out"
)
FRESH = (
    "finetune sounds.csv --student students/five.safetensors --scratch --layer conv1 --folds_only --crop_seconds 0.25 "
    "--batch_size 3 --epochs 2 --device cpu --out"
)
TRAIN = (
    "train esc50_cats_dogs --data sounds.csv --device cpu --set training.epochs=3 training.batch_size=2 "
    "training.optimizer=sgd training.momentum=0.5 sampling.pieces.seconds=0.25 --out"
)
TAGGED = (
    "train film_genres --data tags.csv --device cpu --set network=CatsDogs sampling.pieces.seconds=0.25 "
    "training.batch_size=4 training.epochs=2 evaluation.top=1 --out"
)
DISTILL = "distill targets --architecture SoundNet5 --steps 6 --batch_size 1 --held_out 0 --device cpu --out"
EXTRACT = "extract sounds.csv --student students/five.safetensors --layers conv1 pool2 --workers 0 --device cpu --out"


def old(module: str) -> Any:
    """Import a module of version 0.1.0, whose name is another one now."""
    return import_module(f"soundnet_kd.{module}")


def run(command: str, *more: str) -> None:
    """Run a command."""
    assert main([*command.split(), *more]) == 0, command


# What is made up.


def make_sounds() -> None:
    """Make sounds that repeat after whole samples, and so take little room."""
    rng = np.random.default_rng(0)
    labelled, tagged = [], []
    for name, period in CLASSES.items():
        for number in range(4):
            repeated = np.sin(2 * np.pi * np.arange(period - number) / (period - number)) * 0.5
            repeated += rng.normal(0, 0.05, len(repeated))
            wave = np.resize(repeated, round((0.5 + number / 20) * RATE)).astype(np.float32)
            old("media").write_audio(Path("sounds") / f"{name}_{number}.wav", wave, RATE)
            path = f"sounds/{name}_{number}.wav"
            # Two of eight have a wrong label, so that nothing is right throughout.
            label = "low" if (name, number) in (("high", 2), ("low", 0), ("low", 1), ("low", 2)) else "high"
            labelled.append((path, label, 1 + number % 2))
            tags = ["low"] * (name == "low") + ["loud"] * (number % 2 == 0)
            tagged.append((path, ";".join(tags), ("train", "validation", "test", "train")[number]))
    write_rows("sounds.csv", ("path", "label", "fold"), labelled)
    write_rows("tags.csv", ("path", "tags", "split"), tagged)


def write_rows(path: str, header: tuple[str, ...], rows: list[Any]) -> None:
    """Write a table."""
    with Path(path).open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle).writerows([header, *rows])


def patterned(state: dict[str, Tensor]) -> None:
    """Give tensors of a network the numbers of the pattern: weights for their inputs, batch norms around 0 and 1.

    The numbers have few digits, and are scaled by powers of two, so that few bytes are told from others.
    """
    pattern = (np.random.default_rng(1).normal(size=PERIOD) * 16).round().astype(np.float32) / 16
    for name, value in state.items():
        if not value.dtype.is_floating_point or "front_end" in name:
            continue
        numbers = torch.from_numpy(np.resize(pattern, value.numel()).reshape(value.shape))
        if name.endswith("running_var"):
            numbers = 1 + numbers.abs() / 8
        elif value.ndim == 1:
            # Weights of batch norms are around 1.
            numbers = numbers / 8 + float(name.endswith("weight"))
        else:
            # What students guess is to be less than certain.
            guess = 2.0**-8 if name.split(".")[1] in HEADS else 1.0
            numbers = numbers * guess * 2.0 ** round(np.log2(2 / value[0].numel()) / 2)
        value.copy_(numbers)


# What version 0.1.0 wrote of it.


def write_students() -> None:
    """Write a student of each architecture; that of eight layers in a run folder, and one that was imported."""
    networks = old("models")
    for kind, path, seconds in (
        (networks.SoundNet8, "students/eight/student.safetensors", 10.0),
        (networks.SoundNet5, "students/five.safetensors", 5.0),
    ):
        student = kind(HEADS, networks.Preprocessing(least_samples=round(seconds * RATE)))
        patterned(student.state_dict())
        networks.write_student(student, Path(path), {"steps": 4, "versions": old("storage").versions()})
    run("weights import students/five.safetensors --as imported")


def write_networks() -> None:
    """Write a network of each kind that is trained from scratch, and a student of eight layers with a new head."""
    kinds, file = old("models.classifiers").CLASSIFIERS, old("classifiers.classifier_file")
    for name, class_names in NETWORKS.items():
        network = kinds[name](class_names)
        patterned(network.state_dict())
        file.write_classifier(network, Path("networks") / name / "classifier.safetensors", {"seed": 0})
    student = old("pretrained").load_student("students/eight")
    classifier = old("classifiers.clip_classifier").ClipClassifier(student, "pool5", tuple(CLASSES))
    patterned(classifier.state_dict())
    file.write_classifier(classifier, Path("deep") / "classifier.safetensors", {"seed": 0})


def write_trainings() -> None:
    """Train on labels what is so small that it can be kept as it is."""
    run(FINETUNE, "finetuned")
    run(FRESH, "fresh")
    run(TRAIN, "trained")
    run(TAGGED, "tagged")
    repeat_weights(Path("tagged/classifiers/low.safetensors"))


def write_targets() -> None:
    """Label a video of two tones; its sound is kept as it is, so that it repeats too."""
    pictures = np.random.default_rng(2).integers(0, 255, (2, 32, 32, 3), dtype=np.uint8)
    frames = (pictures[number // 40] for number in range(80))
    tones = [np.resize(np.sin(2 * np.pi * np.arange(period) / period) * 0.4, 20 * RATE) for period in CLASSES.values()]
    sound = np.concatenate(tones).astype(np.float32)
    old("media").write_video(Path("videos/two.mkv"), frames, 2.0, sound, RATE, audio_codec="pcm_s16le")
    for number, picture in enumerate(pictures):
        for copy in range(5):
            file = Path("frames") / f"kind{number}" / f"{copy}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(file)
    run("demo-teacher frames --network squeezenet1_0 --input_size 32 --epochs 1 --out teacher.safetensors")
    run("teach videos --objects teacher.safetensors --workers 0 --device cpu --out targets")


def write_analyses() -> None:
    """Run what reads features and results."""
    for name, student in STUDENTS.items():
        run(EXTRACT.replace(STUDENTS["five"], student), f"features/{name}.h5")
        run(f"evaluate features/{name}.h5 --out results/{name}")
    run(
        f"extract {ONE} --student students/five.safetensors --layers pool3 --pooling none --workers 0 --device cpu "
        "--out features/steps.h5"
    )
    run("compare results/eight --baseline results/five --out results/comparison.csv")
    run("rank results/eight results/five finetuned fresh trained --out ranking")
    run("neurons features/eight.h5 --shuffles 50 --layers conv1 --out neurons")
    run("project features/eight.h5 --layers pool2 --out maps")
    run(f"peel {ONE} --student networks/FilmGenresRecurrent --out peel")


# What it was killed in.


def killed(command: str, out: str, owner: str, function: str, when: Callable[[], bool]) -> None:
    """Run a command in a process of its own that dies when a function has done its work and a condition holds."""
    module, _, name = owner.rpartition(".")
    child = os.fork()
    if not child:
        holder = getattr(old(module), name) if name[0].isupper() else old(owner)
        original = getattr(holder, function)

        def dying(*arguments: Any, **options: Any) -> Any:
            result = original(*arguments, **options)
            if when():
                os._exit(9)
            return result

        setattr(holder, function, dying)
        main([*command.split(), out])
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 9, command


def repeat_checkpoint(file: Path) -> None:
    """Give a checkpoint the numbers of the pattern, of the network and of its optimizer."""
    content = torch.load(file, weights_only=True)
    patterned(content["state_dict"])
    (optimizer,) = content["optimizer_states"]
    for state in optimizer["state"].values():
        for name, value in state.items():
            if name == "exp_avg_sq":
                value.fill_(2.0**-12)
            elif name != "step":
                patterned({"its.mean": value})
                value *= 2.0**-10
    torch.save(content, file)


def repeat_weights(file: Path) -> None:
    """Give a network on disk the numbers of the pattern; what the file says of it stays."""
    with safe_open(file, framework="pt") as opened:
        about = opened.metadata()
        state = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    patterned(state)
    save_file(state, file, about)


def write_halves() -> None:
    """Kill runs half-way, and keep what they came to when version 0.1.0 went on with them."""
    training = ("distill.checkpoints.LastCheckpoints", "on_train_batch_start")
    soon = " --checkpoint_minutes 0 "

    def saved(pattern: str, step: int) -> Callable[[], bool]:
        return lambda: any(int(file.stem.removeprefix("step=")) == step for file in Path("half").glob(pattern))

    fold, seed = "finetune/.folds/fold-2/checkpoints", "train/rounds/seed-0-fold-2/checkpoints"
    command = FINETUNE.replace(" --out", f"{soon}--folds_only --out")
    killed(command, "half/finetune", *training, saved(f"{fold}/step=*.ckpt", 2))
    command = TRAIN.replace(" --set", f"{soon}--set")
    killed(command, "half/train", *training, saved(f"{seed}/step=*.ckpt", 3))
    command = DISTILL.replace(" --out", f"{soon}--keep_checkpoints 1 --out")
    killed(command, "half/distill", *training, saved("distill/checkpoints/step=*.ckpt", 4))
    old("features.writing").SOUNDS_PER_PART = 3
    first = Path("half/extract/features.h5.parts/part-00000.h5")
    killed(EXTRACT, "half/extract/features.h5", "features.writing", "_write_part", first.is_file)
    # What a run can do without.
    Path("half/distill/untrained.safetensors").unlink()
    for folder in (*Path("half").rglob("logs"), Path("half/train/.sounds")):
        shutil.rmtree(folder)
    for older in (f"{fold}/step=1.ckpt", f"{seed}/step=2.ckpt"):
        (Path("half") / older).unlink()
    for checkpoint in (f"{seed}/step=3.ckpt", "distill/checkpoints/step=4.ckpt"):
        repeat_checkpoint(Path("half") / checkpoint)
    repeat_weights(Path("half/train/rounds/seed-0-fold-1.safetensors"))
    shutil.copytree("half", "whole")
    run(FINETUNE, "whole/finetune", "--folds_only")
    run(TRAIN, "whole/train")
    run(DISTILL, "whole/distill")
    run(EXTRACT, "whole/extract/features.h5")
    whole, answers = Path("whole"), Path("answers/half")
    for name, tables in (
        ("finetune", ("history", "predictions")), ("train", ("history", "probabilities")), ("distill", ("history",)),
    ):  # fmt: skip
        (answers / name).mkdir(parents=True)
        for table in tables:
            shutil.copy(whole / name / f"{table}.csv", answers / name)
    weights = load_file(whole / "distill" / "student.safetensors")
    sums = {name: tensor.double().abs().sum().item() for name, tensor in weights.items()}
    (answers / "distill" / "sums.json").write_text(json.dumps(sums))
    keep_features(whole / "extract" / "features.h5", answers / "extract.npz")
    shutil.rmtree("whole")


# What it answered.


def keep_features(cache: Path, target: Path) -> None:
    """Keep the first channels of the layers of a cache."""
    with h5py.File(cache) as file:
        target.parent.mkdir(parents=True, exist_ok=True)
        np.savez(target, **{name: values[:, :CHANNELS] for name, values in file["layers"].items()})


def write_answers() -> None:
    """Let each network hear the same sound."""
    answers = Path("answers")
    answers.mkdir(exist_ok=True)
    for name, place in {**STUDENTS, "imported": "imported"}.items():
        with (answers / f"{name}.json").open("w") as file, redirect_stdout(file):
            run(f"predict {ONE} --student {place} --json --device cpu")
    # A network is found by the name of its file.
    Path("tag").mkdir()
    shutil.copy("tagged/classifiers/loud.safetensors", "tag/classifier.safetensors")
    networks = {name: f"networks/{name}" for name in NETWORKS}
    for name, place in {**STUDENTS, "trained": "trained", "tag": "tag", **networks}.items():
        run(f"extract {ONE} --student {place} --workers 0 --device cpu --out heard.h5")
        keep_features(Path("heard.h5"), answers / "features" / f"{name}.npz")
        Path("heard.h5").unlink()
    shutil.rmtree("tag")
    for name in ("finetuned", "deep"):
        run(f"peel {ONE} --student {name} --out peeled")
        with h5py.File("peeled/peel.h5") as file:
            (head,) = file["heads"].values()
            logits = (head["weight"][()] * head["heard"][()]).sum(axis=(1, 2)) + head["bias"][()]
            target = answers / "peeled" / f"{name}.npz"
            target.parent.mkdir(exist_ok=True)
            np.savez(target, logits=logits)
        shutil.rmtree("peeled")


LEFT_OUT = {".lock", "frames", "logs", "teacher.safetensors", "videos"}
FIGURES = {".html", ".js", ".png", ".svg"}


def kept(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Leave out figures and what no command reads again; nothing has a date or an owner."""
    path = Path(member.name)
    if path.name in LEFT_OUT or path.suffix in FIGURES:
        return None
    return member.replace(mtime=0, uid=0, gid=0, uname="", gname="", deep=False)


def make() -> None:
    """Make everything, in a folder that is removed again."""
    assert version("soundnet-kd") == "0.1.0"
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.environ["SOUNDNET_KD_CACHE"] = "cache"
        torch.manual_seed(0)
        torch.set_num_threads(1)
        make_sounds()
        write_students()
        write_networks()
        write_trainings()
        write_targets()
        write_analyses()
        write_halves()
        write_answers()
        with tarfile.open(ARCHIVE, "w:xz", preset=9) as archive:
            for file in sorted(Path().iterdir()):
                archive.add(file, filter=kept)
        os.chdir("/")


if __name__ == "__main__":
    make()
