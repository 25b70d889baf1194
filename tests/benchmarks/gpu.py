"""How fast SoundNet8 trains on a GPU, against what the GPU could do, as a table in Markdown.

    python -m tests.benchmarks.gpu                                  # one NVIDIA GPU, at most ten minutes, unattended
    python -m tests.benchmarks.gpu --device cpu --batch_sizes 2 --seconds 10 --steps 2      # tries the script

Clips per second of an optimizer step on a batch in the device's memory: plain, by torch.compile, and recorded as a CUDA
graph; of a real run of `distill`, with the share of its time that it waits for data. Beside them the floors: by
arithmetic (3.8 GFLOP for a clip and step) at the rate of a large matrix product, and by memory traffic at the rate of a
large copy, both measured first. Rows for which no time is left, or no memory, say so.
"""

import argparse
import logging
import tempfile
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from time import perf_counter
from typing import Literal

import torch

from soundnet_kd.models import SoundNet8, choose_device
from tests.benchmarks.training import made_targets, measured_run
from tests.benchmarks.training_step import CLASSES, SAMPLE_RATE, SECONDS, Step

Precision = Literal["32", "bf16"]
PRECISIONS: tuple[Precision, ...] = ("32", "bf16")
WAYS: dict[str, dict[str, bool]] = {"plain": {}, "CUDA graph": {"graph": True}, "compiled": {"compiled": True}}
SECONDS_OF_A_ROW = {"plain": 15.0, "compiled": 100.0, "CUDA graph": 15.0, "distill": 40.0}
"""What a row may take; it is left out where less is left."""
PASSES = 9
"""Times that each value of a convolution is read or written by layers that are not fused.

Forward it is written, read for the statistics, and read and written normalised; backward read twice (for the sums of
batch norm, and for the gradient), with its own gradient written once and read by weights and inputs.
"""
PASSES_OF_WEIGHTS = 10
"""Forward, backward, their gradients, and Adam's reading and writing of weights and two averages."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--batch_sizes", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--seconds", type=float, default=SECONDS, help="Length of a clip; distill takes 20 s.")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=9.0)
    options = parser.parse_args()
    logging.getLogger("soundnet_kd").setLevel(logging.ERROR)
    device = choose_device(options.device)
    ends = perf_counter() + 60 * options.minutes
    card = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    flops, traffic = _work(options.seconds)
    bytes_per_second = _copied_bytes_per_second(device)
    print(f"{card}, PyTorch {torch.__version__}, {options.seconds:g} s a clip, medians of {options.steps} steps\n")
    print(f"A copy moves {bytes_per_second / 1e9:.0f} GB/s; a clip and step is {flops / 1e9:.1f} GFLOP.\n")
    print("| precision | batch | way | clips/s | of the floor | floor by arithmetic | by memory | waiting for data |")
    print("|---|---|---|---|---|---|---|---|")
    rates = {precision: _products_per_second(device, precision) for precision in PRECISIONS}
    # What takes long comes last.
    rows = sorted(product((*WAYS, "distill"), PRECISIONS, options.batch_sizes), key=lambda row: row[0] == "compiled")
    with tempfile.TemporaryDirectory() as folder:
        targets = made_targets(Path(folder) / "targets", max(options.batch_sizes))
        for way, precision, batch_size in rows:
            if way == "CUDA graph" and device.type != "cuda":
                continue
            by_arithmetic = rates[precision] / flops
            by_memory = bytes_per_second / traffic(batch_size, 4 if precision == "32" else 2)
            if device.type == "cuda" and perf_counter() + SECONDS_OF_A_ROW[way] > ends:
                cells = ("no time left", "", "")
            else:
                cells = _measure(way, precision, batch_size, options, targets, min(by_arithmetic, by_memory))
            found, share, waiting = cells
            print(
                f"| {precision} | {batch_size} | {way} | {found} | {share} | {by_arithmetic:.0f} | {by_memory:.0f} "
                f"| {waiting} |",
                flush=True,
            )


def _measure(
    way: str, precision: Precision, batch_size: int, options: argparse.Namespace, targets: Path, floor: float
) -> tuple[str, str, str]:
    """Give clips per second, what they are of the floor, and the share of waiting; or why there are none."""
    waiting = ""
    try:
        if way == "distill":
            out = targets.parent / f"{precision}-{batch_size}"
            found, share = measured_run(targets, out, batch_size, options.steps, precision, options.device)
            waiting = f"{share:.1%}"
        else:
            step = Step(batch_size, precision, choose_device(options.device), seconds=options.seconds, **WAYS[way])
            found = batch_size / step.seconds_of(options.steps)
    except torch.OutOfMemoryError:
        return "out of memory", "", ""
    except Exception as error:
        # One way that fails on a card does not take the others with it.
        return f"{type(error).__name__}: {str(error)[:80]}".replace("|", "/").replace("\n", " "), "", ""
    finally:
        torch.compiler.reset()
        torch.cuda.empty_cache()
    return f"{found:.1f}", f"{found / floor:.0%}", waiting


def _blocks(seconds: float) -> Iterator[tuple[int, int, int]]:
    """Give of each convolution the values that it makes of a clip, its multiplications for one, and its weights."""
    samples, channels = round(seconds * SAMPLE_RATE), 1
    for block in SoundNet8.blocks:
        steps, samples = block.steps(samples)
        yield steps * block.filters, channels * block.kernel, channels * block.kernel * block.filters
        channels = block.filters
    kernel, filters = SoundNet8.output.kernel, sum(CLASSES.values())
    yield SoundNet8.output.steps(samples)[0] * filters, channels * kernel, channels * kernel * filters


def _work(seconds: float) -> tuple[float, Callable[[int, int], float]]:
    """Give the operations of a clip and step, and the bytes of one in a batch of so many, each value of so many bytes.

    A convolution takes as many operations for the gradients of its weights as forward, and for those of its input; the
    first one needs no gradient of its input.
    """
    blocks = list(_blocks(seconds))
    flops = sum(2 * values * each * (2 if first == 0 else 3) for first, (values, each, _) in enumerate(blocks))
    values, weights = sum(block[0] for block in blocks), sum(block[2] for block in blocks)
    return flops, lambda batch, size: PASSES * size * values + PASSES_OF_WEIGHTS * 4 * weights / batch


def _seconds_of(operation: Callable[[], object], device: torch.device, repeats: int = 10) -> float:
    for _ in range(3):
        operation()
    best = float("inf")
    for _ in range(repeats):
        if device.type != "cpu":
            torch.accelerator.synchronize(device)
        started = perf_counter()
        operation()
        if device.type != "cpu":
            torch.accelerator.synchronize(device)
        best = min(best, perf_counter() - started)
    return best


def _copied_bytes_per_second(device: torch.device) -> float:
    source = torch.randn(2**28 if device.type != "cpu" else 2**24, device=device)
    target = torch.empty_like(source)
    return 2 * 4 * source.numel() / _seconds_of(lambda: target.copy_(source), device)


def _products_per_second(device: torch.device, precision: str) -> float:
    """Give the operations per second of a large matrix product; in 32 bit with TF32, as PyTorch's convolutions."""
    size = 8192 if device.type != "cpu" else 1024
    one, other = (
        torch.randn(size, size, device=device, dtype=torch.bfloat16 if precision == "bf16" else torch.float32)
        for _ in range(2)
    )
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        return 2 * size**3 / _seconds_of(lambda: one @ other, device)
    finally:
        torch.set_float32_matmul_precision(before)


if __name__ == "__main__":
    main()
