"""Shards on the machines of a Ray cluster, or on one machine by the same means.

Each machine has a process in which the networks are loaded, or one for each GPU; it does one shard after the other.
Their files are decoded by tasks, one for each CPU, wherever there is one free; short sounds, which are not worth a task
each, are decoded by each machine itself where its network runs on CPUs. The processes with networks ask Ray for no CPU,
so that however many machines are lost, what is left of CPUs decodes.

This is Ray's core, and not Ray Data, whose pool of actors knows nothing of tasks that these wait for: where machines
are lost it stands still once the actors have taken all CPUs that are left. Nor does it tell a lost machine from a shard
that ends its process.
"""

import logging
import os
import pickle
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from soundnet_kd.errors import SettingsError, SoundNetKDError
from soundnet_kd.media.decode_pool import DEADLINE_MINUTES, readable_by
from soundnet_kd.media.stored import MediaSource, address_of, local_path
from soundnet_kd.shards.ray_cluster import Machine, RayCluster, answers, connect, places, require_sizes
from soundnet_kd.shards.ray_workers import CHECK_SECONDS, NetworkProcess
from soundnet_kd.shards.shard import Shard, ShardResult, ShardWork

log = logging.getLogger(__name__)

TRIALS = 3
"""A shard that was in work so often when its process was lost, on a machine that is still there, ends the run; so does
a machine on which so many processes were lost before they had loaded the networks."""
LOOK_SECONDS = 2.0
"""How often the machines of the cluster are looked at."""
HEAD_SECONDS = 30.0
"""A head that does not answer for so long is gone; after a minute Ray ends the process of whoever waits for it."""
NEWS_SECONDS = 600.0
"""After so long without a shard that is finished, it is said what is waited for."""

Burst = Callable[[int], int | None]
"""Of so many processes that decode, the `burst` of `decode_in_processes`."""


def do_on_ray(
    work: ShardWork,
    shards: Sequence[Shard],
    *,
    out: str | Path | None = None,
    address: str | None = None,
    networks: int | None = None,
    decoders: int | None = None,
    gpus_per_network: float | None = None,
    deadline_minutes: float = DEADLINE_MINUTES,
) -> Iterator[ShardResult]:
    """Do the shards that are not done yet, and return what became of each as it is finished.

    Whoever stops and starts again goes on with those that are not done. A machine that is lost costs the shards in its
    hands, which are done again elsewhere; one that joins is given some.

    Parameters
    ----------
    work : ShardWork
    shards : sequence of Shard
    out : str or Path, optional
        A folder that all machines have to see.
    address : str, optional
        Of a Ray cluster, as `connect` takes it. [default: a Ray of its own on this machine]
    networks : int, optional
        Processes with networks. [default: one on each machine, or for each GPU]
    decoders : int, optional
        Files that are decoded at the same time. [default: one for each CPU]
    gpus_per_network : float, optional
        GPUs for each of these processes, 0 for none, 0.5 for two on a GPU. [default: 1 where there are any]
    deadline_minutes : float
        Longest time for decoding one file.

    Yields
    ------
    ShardResult
        In the order in which they are finished.

    Raises
    ------
    SettingsError
        If Ray or the cluster is not there, or the cluster cannot do this.
    SoundNetKDError
        If a shard could not be done for a reason that is not one of its files'.
    """
    with on_ray(out, address, networks, decoders, gpus_per_network) as engine:
        yield from engine.do(work, [shard for shard in shards if not work.is_done(shard)], deadline_minutes)


@contextmanager
def on_ray(
    out: str | Path | None = None,
    address: str | None = None,
    networks: int | None = None,
    decoders: int | None = None,
    gpus_per_network: float | None = None,
    device: str = "auto",
) -> "Iterator[RayEngine]":
    """Connect to a cluster and check it, before anything heavy begins.

    The arguments are those of `do_on_ray`; `device` is where the networks run: auto, cpu or cuda.
    """
    with connect(address, None if out is None else Path(out)) as cluster:
        yield RayEngine(cluster, networks, decoders, gpus_per_network, device)


class RayEngine:
    """A cluster that can do shards.

    Attributes
    ----------
    device : str
        Where the networks run, as each machine takes it.
    gpus_per_network : float
        0 where they run on CPUs.

    Raises
    ------
    SettingsError
        If it has no room for what is asked for.
    """

    def __init__(
        self,
        cluster: RayCluster,
        networks: int | None = None,
        decoders: int | None = None,
        gpus_per_network: float | None = None,
        device: str = "auto",
    ) -> None:
        machines = cluster.machines()
        if gpus_per_network is None:
            has_gpus = any(machine.gpus >= 1 for machine in machines) if device == "auto" else device != "cpu"
            gpus_per_network = 1 if has_gpus else 0
        require_sizes(machines, gpus_per_network, networks, decoders)
        if networks is None and decoders is not None:
            networks = min(decoders, places(machines, gpus_per_network, None).total())
        self.device = device
        self.gpus_per_network = gpus_per_network
        self._cluster = cluster
        self._networks = networks
        self._decoders = decoders

    def do(
        self,
        work: ShardWork,
        shards: Sequence[Shard],
        deadline_minutes: float = DEADLINE_MINUTES,
        burst: Burst | None = None,
        heard: Callable[[int], object] = lambda _: None,
    ) -> Iterator[ShardResult]:
        """Do shards, as `do_on_ray` does, those too that are done.

        Parameters
        ----------
        work, shards, deadline_minutes
            As `do_on_ray` takes them.
        burst : callable, optional
            Given how many processes decode, it returns the `burst` of `decode_in_processes`. A machine whose burst a
            shard fills decodes its own files, with a process for each CPU; not with GPUs, nor where `networks` or
            `decoders` are given.
        heard : callable
            Told of each shard how many files it had.
        """
        if not deadline_minutes > 0:
            raise SettingsError(f"deadline_minutes is {deadline_minutes:g}; it has to be above 0")
        waiting = deque(shards)
        if not waiting:
            return
        self._cluster.require_seen(_files_of(_everywhere(waiting[0].sources[0])))
        if self.gpus_per_network or self._networks is not None:
            burst = None
        sizes = self._networks, self._decoders, self.gpus_per_network
        run = _Run(self._cluster, work, *sizes, deadline_minutes, burst, sum(map(len, shards)) // len(shards))
        for shard, result in run.do(waiting):
            heard(len(shard))
            yield result


@dataclass
class _Process:
    """A process with networks.

    Attributes
    ----------
    machine : Machine
    actor : ray.ActorHandle of NetworkProcess
    answer : ray.ObjectRef or None
        What it is asked for and has not answered; None while it has nothing to do.
    shard : Shard or None
        What it is to do; None while the networks are loaded.
    following : Shard or None
        What it is to do after that, and has tasks begin to decode, unless another process is idle before.
    """

    machine: Machine
    actor: Any
    answer: Any
    shard: Shard | None = None
    following: Shard | None = None


class _Run:
    """The shards of a work on a cluster."""

    def __init__(
        self,
        cluster: RayCluster,
        work: ShardWork,
        networks: int | None,
        decoders: int | None,
        gpus_per_network: float,
        deadline_minutes: float,
        burst: Burst | None,
        files_per_shard: int,
    ) -> None:
        self.cluster = cluster
        self.ray = cluster.ray
        self.networks = networks
        self.decoders = decoders
        self.gpus_per_network = gpus_per_network
        self.deadline_minutes = deadline_minutes
        self.burst = burst
        self.files_per_shard = files_per_shard
        self.machines = cluster.machines()
        self.pickled = self.ray.put(_pickle(work))
        self.processes: list[_Process] = []
        self.lost_on: dict[str, Counter[str]] = {}
        self.head_answered = monotonic()
        self.looked = -LOOK_SECONDS

    def do(self, waiting: deque[Shard]) -> Iterator[tuple[Shard, ShardResult]]:
        """Do shards, those that are lost again."""
        left, last_news = len(waiting), monotonic()
        try:
            while left:
                self._look_at_machines()
                self._hand_out(waiting)
                for process in self._answered():
                    result = self._take(process, waiting)
                    if result is not None:
                        last_news = monotonic()
                        left -= 1
                        yield result
                if monotonic() - last_news > NEWS_SECONDS:
                    last_news = monotonic()
                    log.warning(self._standing())
        finally:
            for process in self.processes:
                self.ray.kill(process.actor)

    def _look_at_machines(self) -> None:
        """Take note of machines that are lost or have come, and start processes where there are none."""
        if monotonic() - self.looked < LOOK_SECONDS:
            return
        self.looked = monotonic()
        if not answers(self.cluster.address):
            if monotonic() - self.head_answered > HEAD_SECONDS:
                raise SoundNetKDError(
                    f"the head of the Ray cluster at {self.cluster.address} is gone; start the cluster again and run "
                    "the same command, it goes on from what is written"
                )
            return
        self.head_answered = monotonic()
        self.machines = self.cluster.alike(self.cluster.machines())
        wanted = places(self.machines, self.gpus_per_network, self.networks)
        there = Counter(process.machine.id for process in self.processes)
        for machine in self.machines:
            for _ in range(wanted[machine.id] - there[machine.id]):
                self.processes.append(self._started(machine, wanted[machine.id]))

    def _started(self, machine: Machine, networks_there: int) -> _Process:
        threads = os.environ.get("OMP_NUM_THREADS") or max(1, int(machine.cpus) // networks_there)
        # What is lost is begun again here; Ray itself would do it without end, for a machine that is not there.
        options = {"num_cpus": 0, "num_gpus": self.gpus_per_network, "max_restarts": 0, "max_task_retries": 0}
        actor = self.ray.remote(NetworkProcess).options(**options, scheduling_strategy=self.cluster.on(machine))
        cpus = int(machine.cpus)
        burst = None if self.burst is None else self.burst(cpus)
        own = (cpus, burst) if burst and burst <= self.files_per_shard else ()
        started = actor.remote(self.pickled, int(threads), self.deadline_minutes, *own)
        return _Process(machine, started, started.start.remote())

    def _hand_out(self, waiting: deque[Shard]) -> None:
        """Give shards to processes that have nothing to do."""
        count = max(1, len(self.processes))
        cpus = sum(int(machine.cpus) for machine in self.machines)
        # As many again as can be decoded at once wait for a CPU, so that none is ever without work.
        at_once = 2 * -(-cpus // count) if self.decoders is None else max(1, self.decoders // count)
        for process in self.processes:
            if process.answer is None and (shard := self._next_for(process, waiting)) is not None:
                process.shard = shard
                process.following = waiting.popleft() if waiting else None
                given = [None if each is None else _anywhere(each) for each in (shard, process.following)]
                process.answer = process.actor.do.remote(*given, at_once)

    def _next_for(self, process: _Process, waiting: deque[Shard]) -> Shard | None:
        """Return the next shard for a process: its own, else any, else what another one was to do next."""
        taken_from = process
        if process.following is None:
            if waiting:
                return waiting.popleft()
            taken_from = next((each for each in self.processes if each.following is not None), process)
        shard, taken_from.following = taken_from.following, None
        return shard

    def _answered(self) -> list[_Process]:
        """Wait for answers, at most for some seconds, and return the processes that gave them."""
        asked = {process.answer: process for process in self.processes if process.answer is not None}
        if not asked:
            # There is no machine for them; one may come.
            sleep(CHECK_SECONDS)
            return []
        ready, _ = self.ray.wait(list(asked), num_returns=1, timeout=CHECK_SECONDS)
        return [asked[answer] for answer in ready]

    def _take(self, process: _Process, waiting: deque[Shard]) -> tuple[Shard, ShardResult] | None:
        """Take an answer: a shard and what became of it, or nothing yet.

        Raises
        ------
        SoundNetKDError
            That the process met, or if it was lost too often.
        """
        from ray.exceptions import RayError

        shard, process.shard = process.shard, None
        try:
            answer = self.ray.get(process.answer)
        except RayError as error:
            self.processes.remove(process)
            self.ray.kill(process.actor)
            self._count_loss(process.machine, shard, error)
            waiting.extendleft(each for each in (process.following, shard) if each is not None)
            if shard is not None:
                log.warning("%s was lost; its %d files are done again", process.machine.name, len(shard))
            return None
        process.answer = None
        if isinstance(answer, SoundNetKDError):
            found = type(answer)(f"{answer} (on {process.machine.name})")
            found.__notes__ = getattr(answer, "__notes__", [])
            raise found
        return None if shard is None else (shard, answer)

    def _count_loss(self, machine: Machine, shard: Shard | None, error: Exception) -> None:
        """Note that a process was lost.

        Raises
        ------
        SoundNetKDError
            If that was too often, and not for want of its machine.
        """
        lost_on = self.lost_on.setdefault(shard.name if shard else machine.id, Counter())
        lost_on[machine.id] += 1
        alive = {each.id for each in self.cluster.machines()}
        if sum(count for each, count in lost_on.items() if each in alive) < TRIALS:
            return
        what = f"at the {len(shard)} files from {shard.ids[0]} on" if shard else "before they had loaded the networks"
        reason = " ".join(str(error).split())
        raise SoundNetKDError(
            f"{TRIALS} processes with networks were lost {what}, the last one on {machine.name}, most likely for want "
            f"of memory; use a smaller batch or fewer --networks, or see the logs of Ray ({reason[:200]})"
        )

    def _standing(self) -> str:
        starting = sum(process.shard is None for process in self.processes)
        where = f"; {starting} of them wait for their networks or for a GPU" if starting else ""
        return (
            f"no shard was finished for {NEWS_SECONDS / 60:g} minutes: there are {len(self.machines)} machines with "
            f"{sum(machine.cpus for machine in self.machines):g} CPUs and {len(self.processes)} processes with networks"
            f"{where}; `ray status` says what the cluster is at"
        )


def _anywhere(shard: Shard) -> Shard:
    """Return a shard as other processes find its files."""
    return replace(shard, sources=tuple(map(_everywhere, shard.sources)))


def _everywhere(source: MediaSource) -> MediaSource:
    """Return a source as other processes find it, whose working directory is another one.

    Raises
    ------
    SettingsError
        If they cannot.
    """
    source = readable_by(1, source)
    if isinstance(source, Path):
        return source.absolute()
    if address_of(source.container) is None:
        return replace(source, container=str(local_path(source.container).absolute()))
    return source


def _files_of(source: MediaSource) -> list[Path]:
    """Return the files that a machine has to see to read a source."""
    if isinstance(source, Path):
        return [source]
    return [local_path(source.container)] if address_of(source.container) is None else []


def _pickle(work: ShardWork) -> bytes:
    try:
        pickled = pickle.dumps(work)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise SettingsError(
            f"what is to be done cannot be handed to other machines ({error}); make it of functions and classes of "
            "modules"
        ) from error
    if b"__main__" in pickled:
        raise SettingsError(
            "what is to be done comes from a script, which other machines do not have; put it in a module they have"
        )
    return pickled
