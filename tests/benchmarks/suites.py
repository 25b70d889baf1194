"""Rows in the suites that have a door here, on the sounds of an ESC-50 folder on this disk.

    python -m tests.benchmarks.suites maeb|xares|hear DATA [--student soundnet8] [--features sqrt] [--esc10]

DATA is a folder in ESC-50's layout. Each suite hears it in its own way, and none of these figures stands beside an
official one: which sounds they are, at which rate and depth, belongs to the row. `--classes` takes the first classes
only, `--esc10` the 400 clips of ESC-10.
"""

import argparse
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from soundnet_kd.data import Clip, read_manifest
from soundnet_kd.interfaces.listening import Listener
from soundnet_kd.media import read_audio


def main() -> None:
    """Print a row of a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite", choices=list(SUITES))
    parser.add_argument("data", type=Path)
    parser.add_argument("--student", default="soundnet8")
    parser.add_argument("--layer")
    parser.add_argument("--features", default="mean", choices=["mean", "sqrt"])
    parser.add_argument("--classes", type=int, default=50)
    parser.add_argument("--esc10", action="store_true", help="only the 400 clips of ESC-10")
    options = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    clips = esc50_clips(options.data, options.classes, options.esc10)
    started = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        row = SUITES[options.suite](clips, options, Path(folder))
    print(f"| {row} | {len(clips)} clips | {time.process_time() - started:.0f} s |")


def esc50_clips(data: Path, classes: int = 50, esc10: bool = False) -> list[Clip]:
    """Return the clips of the first classes of an ESC-50 folder, or those of them that ESC-10 has."""
    manifest = read_manifest(data)
    clips = [clip for clip in manifest.clips if clip.label < classes]
    if not esc10:
        return clips
    place = manifest.columns.index("esc10")
    return [clip for clip in clips if clip.carried[place] == "True"]


def file_of(clip: Clip) -> Path:
    """Return the file of a clip, which lies in a folder."""
    assert isinstance(clip.path, Path)
    return clip.path


def maeb_task(clips: Sequence[Clip], folder: Path) -> Any:
    """Return mteb's own ESC50 task, with sounds of this disk in place of those that it would fetch."""
    from datasets import Dataset, DatasetDict, Features, List, Value
    from mteb.tasks.classification.zxx.esc50 import ESC50Classification

    sound = {"array": List(Value("float32")), "sampling_rate": Value("int32")}

    def rows() -> Iterator[dict[str, Any]]:
        for clip in clips:
            waveform, rate = read_audio(file_of(clip))
            yield {"audio": {"array": waveform, "sampling_rate": rate}, "target": clip.label}

    class LocalESC50(ESC50Classification):  # type: ignore[misc]
        def load_data(self, *args: object, **kwargs: object) -> None:
            features = Features({"audio": sound, "target": Value("int64")})
            held = Dataset.from_generator(rows, features=features, cache_dir=str(folder))
            self.dataset, self.data_loaded = DatasetDict(train=held), True

    return LocalESC50()


def maeb_row(clips: Sequence[Clip], options: argparse.Namespace, folder: Path) -> str:
    """Evaluate with mteb's ESC50: shuffled folds, eight clips of each class to learn from."""
    import mteb

    from soundnet_kd.interfaces.maeb import MaebModel

    model = MaebModel(options.student, options.layer, options.features)
    cache = mteb.ResultCache(folder / "results")
    result = mteb.evaluate(model, maeb_task(clips, folder), cache=cache, show_progress_bar=False)
    (scores,) = result.task_results[0].scores["train"]
    return f"mteb {version('mteb')}, ESC50 | {model.listener.name} | accuracy {100 * scores['accuracy']:.1f} %"


def write_xares_tars(clips: Sequence[Clip], folder: Path) -> None:
    """Write clips as X-ARES keeps the sounds of a task, a tar for each fold."""
    from xares.audiowebdataset import write_audio_tar

    folder.mkdir(parents=True, exist_ok=True)
    for fold in sorted({clip.fold for clip in clips}):
        held = [clip for clip in clips if clip.fold == fold]
        paths = [str(file_of(clip)) for clip in held]
        labels = [{"label": clip.label} for clip in held]
        tar = str(folder / f"wds-audio-fold-{fold}-*.tar")
        write_audio_tar(paths, labels, tar, suffix=Path(paths[0]).suffix[1:], num_shards=1)
    (folder / ".audio_tar_ready").touch()


def xares_task(encoder: Any, folds: Sequence[int], classes: int, folder: Path) -> Any:
    """Return X-ARES's ESC-50 task, with the settings of its own, in a folder that holds tars under `esc50`."""
    from xares.task import TaskConfig, XaresTask

    # Readers in processes of their own would be forked from one that has threads.
    config = TaskConfig(
        name="esc50",
        env_root=folder,
        encoder=encoder,
        k_fold_splits=list(folds),
        label_processor=_label,
        output_dim=classes,
        eval_weight=400,
        num_encoder_workers=0,
        torch_num_threads=1,
    )
    return XaresTask(config)


def _label(described: dict[str, int]) -> int:
    return described["label"]


def xares_row(clips: Sequence[Clip], options: argparse.Namespace, folder: Path) -> str:
    """Evaluate with X-ARES's two protocols, over the official folds."""
    from soundnet_kd.interfaces.xares import clip_encoder

    write_xares_tars(clips, folder / "esc50")
    encoder = clip_encoder(options.student, options.layer, options.features)()
    task = xares_task(encoder, sorted({clip.fold for clip in clips}), 1 + max(clip.label for clip in clips), folder)
    task.make_encoded_tar()
    (mlp, _), (knn, _) = task.run_mlp(), task.run_knn()
    name = type(encoder).__name__
    return f"xares {version('xares')}, ESC-50 | {name} | kNN {100 * knn:.1f} %, MLP {100 * mlp:.1f} %"


def write_hear_task(clips: Sequence[Clip], class_names: Sequence[str], folder: Path) -> Path:
    """Write clips as a task in the layout of HEAR's preprocessed ones."""
    _, rate = read_audio(file_of(clips[0]))
    folds = sorted({clip.fold for clip in clips})
    names = [f"fold{number:02}" for number in range(len(folds))]
    for name, fold in zip(names, folds, strict=True):
        sounds = folder / str(rate) / name
        sounds.mkdir(parents=True)
        labels = {}
        for clip in (each for each in clips if each.fold == fold):
            path = file_of(clip)
            shutil.copy(path, sounds)
            labels[path.name] = [class_names[clip.label]]
        (folder / f"{name}.json").write_text(json.dumps(labels), encoding="utf-8")
    heard = sorted({clip.label for clip in clips})
    lines = ["idx,label", *(f"{number},{class_names[label]}" for number, label in enumerate(heard))]
    (folder / "labelvocabulary.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    about = {
        "task_name": "esc50",
        "version": "local",
        "embedding_type": "scene",
        "prediction_type": "multiclass",
        "split_mode": "presplit_kfold",
        "splits": names,
        "evaluation": ["top1_acc"],
    }
    (folder / "task_metadata.json").write_text(json.dumps(about), encoding="utf-8")
    return folder


def hear_row(clips: Sequence[Clip], options: argparse.Namespace, folder: Path) -> str:
    """Evaluate with HEAR's grid, over the official folds."""
    from soundnet_kd.interfaces.hear_grid import evaluate_task

    task = write_hear_task(clips, read_manifest(options.data).class_names, folder / "esc50-local-full")
    found = evaluate_task(task, Listener(options.student, options.layer, options.features))
    folds = found.scores["top1_acc"]
    each = ", ".join(f"{100 * fold:.1f}" for fold in folds)
    return f"HEAR's grid, ESC-50 | {found.model} | top1_acc {100 * found.mean('top1_acc'):.1f} % ({each})"


SUITES = {"maeb": maeb_row, "xares": xares_row, "hear": hear_row}

if __name__ == "__main__":
    main()
