"""Time extracting all layers of a data set, averaged over time, against the commit before and the network alone.

Run by hand, `python -m tests.benchmarks.extraction [SOUNDS] [--before CHECKOUT]`, on a folder of sounds (ESC-50's
layout or any other); without one, on 200 clips of five seconds that it makes. Each way runs in processes of its own, in
turn with the others; figures are medians of the rounds, ratios are to the checkout before or, without one, to the plain
loop.

    plain       what ports of SoundNet do: a clip at a time, loaded with librosa (with PyAV where librosa is not
                installed), tiled, through 2-D convolutions of one column
    network     batches of the same clips from memory, through the network as `extract` prepares it
    extract     the whole command

CPU seconds are those of all cores and processes together, which other work on the machine disturbs less than the clock.
At the end it shows where `extract` spends its time, decoding in the same process.
"""

import argparse
import cProfile
import importlib
import importlib.util
import os
import pstats
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from soundnet_kd import SoundNet8, extract
from soundnet_kd.data import read_manifest
from soundnet_kd.media import read_audio, write_audio
from soundnet_kd.models import write_network
from soundnet_kd.models.device import keep_freed_memory
from soundnet_kd.pretrained import load_network

RATE = 22_050
HERE = Path(__file__).resolve().parents[2]
STAGES = {
    "decode": ("raw_audio.py", "__call__"),
    "read back": ("raw_audio.py", "read"),
    "network": ("prepared.py", "pooled"),
    "prepare the network": ("prepared.py", "__init__"),
    "write parts": ("cache_parts.py", "finish"),
    "join parts": ("cache_joining.py", "join_parts"),
    "load the network": ("students.py", "load_network"),
    "hash the network": ("soundnet.py", "fingerprint"),
}
"""The functions of `extract` that do something, by file and name; none calls another."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sounds", nargs="?", type=Path)
    parser.add_argument("--before", type=Path, help="another checkout of this repository")
    parser.add_argument("--student", help="a file or a name [default: random weights]")
    parser.add_argument("--clips", type=int, default=200, help="how many of the sounds")
    parser.add_argument("--network_clips", type=int, default=48, help="how many of them the network alone hears")
    parser.add_argument("--plain_clips", type=int, default=0, help="how many of them the plain loop hears")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--options", default="", help="more options of `extract`, of this checkout only")
    parser.add_argument("--way", choices=["plain", "network", "stages"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        print({"plain": plain, "network": network, "stages": stages}[options.way](options))
        return
    with tempfile.TemporaryDirectory() as folder:
        options.sounds = _table(options.sounds or _made(Path(folder)), Path(folder) / "sounds.csv", options.clips)
        if options.student is None:
            torch.manual_seed(0)
            options.student = str(Path(folder) / "student.safetensors")
            write_network(SoundNet8().eval(), options.student, {})
        checkouts = {"now": HERE} | ({"before": options.before.resolve()} if options.before else {})
        figures: dict[str, list[tuple[float, float, float]]] = {}
        for number in range(options.rounds):
            for name, checkout in checkouts.items():
                figures.setdefault(f"network, {name}", []).append(_way("network", options, checkout))
                figures.setdefault(f"extract, {name}", []).append(_command(options, checkout, Path(folder)))
            if options.plain_clips:
                figures.setdefault("plain", []).append(_way("plain", options, HERE))
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
        print_table(figures)
        print(_process([*_script(options), "--way", "stages"], HERE)[0])


def print_table(figures: dict[str, list[tuple[float, float, float]]]) -> None:
    """Print medians, ratios to what they are measured against, and the ratios of each round."""
    print(f"\n{'':18}{'clips/s':>9}{'ratio':>7}{'CPU ms/clip':>13}{'ratio':>7}{'peak MiB':>10}   ratios of each round")
    for name, rounds in figures.items():
        speed, work, peak = (statistics.median(values) for values in zip(*rounds, strict=True))
        way = name.split(",")[0]
        against = figures.get(f"{way}, before", figures.get("plain", rounds))
        ratios = [ours[0] / theirs[0] for ours, theirs in zip(rounds, against, strict=True)]
        less_work = statistics.median(theirs[1] / ours[1] for ours, theirs in zip(rounds, against, strict=True))
        each = " ".join(f"{ratio:.2f}" for ratio in ratios)
        print(f"{name:18}{speed:9.2f}{statistics.median(ratios):7.2f}{work:13.1f}{less_work:7.2f}{peak:10.0f}   {each}")


def network(options: argparse.Namespace) -> str:
    """Give clips per second and CPU milliseconds a clip of the network alone; in a checkout before, as it did there."""
    keep_freed_memory()
    hears = load_network(options.student)
    paths = [Path(str(clip.path)) for clip in read_manifest(options.sounds).clips[: options.network_clips]]
    waveforms = [hears.preprocessing.read(path) for path in paths]
    least = min(map(len, waveforms))
    batches = [np.stack([each[:least] for each in waveforms[first : first + 8]]) for first in range(0, len(paths), 8)]
    run = _prepared(hears) if importlib.util.find_spec("soundnet_kd.inference") else _unprepared(hears)
    run(batches[0])
    begin, work = time.perf_counter(), time.process_time()
    for batch in batches:
        run(batch)
    count = sum(map(len, batches))
    return f"{count / (time.perf_counter() - begin)} {(time.process_time() - work) / count * 1000}"


def _prepared(hears: Any) -> Any:
    prepared = importlib.import_module("soundnet_kd.inference.prepared").PreparedNetwork(hears, hears.layers, ["mean"])
    asked = hears.preprocessing
    return lambda batch: prepared.pooled(
        asked.amplify(torch.from_numpy(batch))[:, None], asked.repeats_of(batch.shape[1])
    )


def _unprepared(hears: Any) -> Any:
    pool = importlib.import_module("soundnet_kd.features.pooling").Pool

    @torch.inference_mode()
    def run(batch: NDArray[np.float32]) -> None:
        answers = hears(torch.stack([hears.preprocessing.prepare(sound) for sound in batch]), hears.layers)
        for steps in answers.values():
            pooled = pool("mean")
            pooled.add(steps)
            pooled.result()

    return run


def plain(options: argparse.Namespace) -> str:
    """Give clips per second and CPU milliseconds a clip of the plain loop."""
    paths = [Path(str(clip.path)) for clip in read_manifest(options.sounds).clips[: options.plain_clips]]
    layers = _two_dimensional(SoundNet8().eval())
    # Libraries load their code at their first use.
    _plain(paths[0], layers)
    begin, work = time.perf_counter(), time.process_time()
    for path in paths:
        _plain(path, layers)
    count = len(paths)
    return f"{count / (time.perf_counter() - begin)} {(time.process_time() - work) / count * 1000}"


def stages(options: argparse.Namespace) -> str:
    """Give a table of where `extract` spends its time."""
    with tempfile.TemporaryDirectory() as folder:
        profile = cProfile.Profile()
        begin = time.perf_counter()
        profile.runcall(extract, options.sounds, options.student, Path(folder) / "features.h5", workers=0)
        seconds = time.perf_counter() - begin
    spent = dict.fromkeys(STAGES, 0.0)
    for (file, _, function), entry in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        for stage, place in STAGES.items():
            if (Path(file).name, function) == place:
                spent[stage] += entry[3]
    spent["all else"] = seconds - sum(spent.values())
    return "\n".join(f"{stage:24}{share / seconds:9.1%}" for stage, share in spent.items())


def _script(options: argparse.Namespace) -> list[str]:
    arguments = [str(options.sounds), "--student", options.student]
    for name in ("network_clips", "plain_clips"):
        arguments += [f"--{name}", str(getattr(options, name))]
    return [sys.executable, "-W", "ignore", str(Path(__file__).resolve()), *arguments]


def _way(way: str, options: argparse.Namespace, checkout: Path) -> tuple[float, float, float]:
    output, _, _, peak_mib = _process([*_script(options), "--way", way], checkout)
    speed, work = map(float, output.split()[-2:])
    return speed, work, peak_mib


def _command(options: argparse.Namespace, checkout: Path, folder: Path) -> tuple[float, float, float]:
    out = folder / "features.h5"
    command = [sys.executable, "-m", "soundnet_kd.cli", "extract", str(options.sounds), "--student", options.student]
    more = options.options.split() if checkout == HERE else []
    _, seconds, work, peak_mib = _process([*command, "--out", str(out), *more], checkout)
    out.unlink()
    return options.clips / seconds, work / options.clips * 1000, peak_mib


def _process(command: list[str], checkout: Path) -> tuple[str, float, float, float]:
    """Run a process and give its output, seconds by the clock, CPU seconds with its children's, and peak in MiB."""
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        begin = time.perf_counter()
        environment = {**os.environ, "PYTHONPATH": str(checkout)}
        # There Python finds the checkout's package, wherever this was called.
        process = subprocess.Popen(command, cwd=checkout, env=environment, stdout=output, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = status
        seconds = time.perf_counter() - begin
        output.seek(0)
        errors.seek(0)
        if status:
            raise SystemExit(errors.read())
        return output.read(), seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def _plain(path: Path, layers: list[nn.Module]) -> list[NDArray[np.float32]]:
    try:
        waveform = importlib.import_module("librosa").load(path, sr=RATE, mono=True)[0]
    except ImportError:
        waveform = read_audio(path, RATE)[0]
    tiled = np.tile(waveform, 441_000 // len(waveform) + 1) * 256
    hidden = torch.from_numpy(tiled.astype(np.float32)).reshape(1, 1, -1, 1)
    found = []
    with torch.no_grad():
        for stage in layers:
            hidden = stage(hidden)
            if isinstance(stage, nn.ReLU | nn.MaxPool2d):
                found.append(hidden.numpy().mean(axis=(2, 3)))
    return found


def _two_dimensional(student: SoundNet8) -> list[nn.Module]:
    found: list[nn.Module] = []
    channels = 1
    for block in student.blocks:
        kernel, stride, padding = (block.kernel, 1), (block.stride, 1), (block.padding, 0)
        found += [nn.Conv2d(channels, block.filters, kernel, stride, padding), nn.BatchNorm2d(block.filters), nn.ReLU()]
        if block.pool > 1:
            found.append(nn.MaxPool2d((block.pool, 1)))
        channels = block.filters
    found.append(nn.Conv2d(channels, 1401, (8, 1), (2, 1)))
    return [stage.eval() for stage in found]


def _table(sounds: Path, table: Path, clips: int) -> Path:
    paths = [Path(str(clip.path)).resolve() for clip in read_manifest(sounds).clips[:clips]]
    table.write_text("\n".join(["path", *map(str, paths)]) + "\n")
    return table


def _made(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    for number in range(200):
        write_audio(
            folder / "made" / f"{number:03d}.flac", rng.uniform(-0.5, 0.5, 5 * 16_000).astype(np.float32), 16_000
        )
    return folder / "made"


if __name__ == "__main__":
    main()
