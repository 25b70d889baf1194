"""One optimizer step on a batch that is held in the device's memory: the limit of what a training can do.

`training` and `gpu` time it. As a process it takes a step for each line that it is sent and says how long that took,
so that two checkouts of the package can be timed in turn.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import torch
from torch import Tensor

from soundnet_kd.distill import DistillationLoss
from soundnet_kd.models import SoundNet8
from soundnet_kd.models.device import keep_freed_memory
from soundnet_kd.training.trainer import be_deterministic

CLASSES = {"objects": 1000, "scenes": 401}
SECONDS = 20
SAMPLE_RATE = 22_050
READY = "ready"


class Step:
    """A student, its optimizer as `distill` makes it, and a batch of noise.

    Parameters
    ----------
    batch_size : int
    precision : {"32", "bf16"}
    device : torch.device
    compiled : bool
        By torch.compile.
    graph : bool
        Recorded once as a CUDA graph, and replayed.
    seconds : float
        Length of a clip.
    """

    def __init__(
        self,
        batch_size: int,
        precision: str,
        device: torch.device,
        compiled: bool = False,
        graph: bool = False,
        seconds: float = SECONDS,
    ) -> None:
        keep_freed_memory()
        be_deterministic()
        torch.manual_seed(0)
        samples = round(seconds * SAMPLE_RATE)
        self.student = SoundNet8(CLASSES).to(device).train()
        self.loss = DistillationLoss()
        self.sound = (torch.randn(batch_size, 1, samples) * 3000).to(torch.int16).to(device)
        steps = self.student.steps(samples, self.student.output_layer)
        self.rows: dict[str, Tensor] = {
            name: torch.rand(batch_size, classes, steps).softmax(dim=1).to(device) for name, classes in CLASSES.items()
        }
        self.precision = precision
        self.device = device
        fused = True if device.type == "cpu" and _knows_fused() else None
        self.optimizer = torch.optim.Adam(self.student.parameters(), fused=fused, capturable=graph)
        self._answer: Callable[[Tensor], dict[str, Tensor]] = torch.compile(self.student) if compiled else self.student
        self._replay: Callable[[], None] | None = self._record() if graph else None

    def __call__(self) -> None:
        """Take a step."""
        if self._replay is None:
            self._take()
        else:
            self._replay()

    def seconds_of(self, steps: int) -> float:
        """Return the median of so many steps, after three that do not count."""
        for _ in range(3):
            self()
        taken = []
        for _ in range(steps):
            self._synchronise()
            started = perf_counter()
            self()
            self._synchronise()
            taken.append(perf_counter() - started)
        return median(taken)

    def _take(self) -> None:
        self.optimizer.zero_grad()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            total, _ = self.loss(self._answer(self.student.preprocessing.amplify(self.sound)), self.rows)
        total.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()

    def _record(self) -> Callable[[], None]:
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                self._take()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._take()
        return graph.replay

    def _synchronise(self) -> None:
        if self.device.type != "cpu":
            torch.accelerator.synchronize(self.device)


class StepProcess:
    """Steps on a CPU in a process of its own, by the package of a checkout.

    Parameters
    ----------
    checkout : Path
    batch_size : int
    precision : {"32", "bf16"}
    threads : int
    """

    def __init__(self, checkout: Path, batch_size: int, precision: str, threads: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", __file__, str(batch_size), precision],
            env={**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": str(threads)},
            cwd=checkout,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._line() == READY, f"no step could be taken by {checkout}"

    def __call__(self) -> tuple[float, float]:
        """Take a step; return its seconds, and the seconds of processors."""
        assert self._process.stdin is not None
        self._process.stdin.write("step\n")
        self._process.stdin.flush()
        seconds, of_processors = self._line().split()
        return float(seconds), float(of_processors)

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


def _knows_fused() -> bool:
    """Whether `distill` of this checkout goes over weights once."""
    from soundnet_kd.training import optimization

    return hasattr(optimization, "is_fused")


def main() -> None:
    step = Step(int(sys.argv[1]), sys.argv[2], torch.device("cpu"))
    for _ in range(2):
        step()
    print(READY, flush=True)
    for _ in sys.stdin:
        started = perf_counter(), process_time()
        step()
        print(perf_counter() - started[0], process_time() - started[1], flush=True)


if __name__ == "__main__":
    main()
