"""A cluster of Ray's: found, or started here, and looked at before it is given work."""

import logging
import os
import secrets
import signal
import socket
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import current_thread, main_thread
from time import monotonic
from typing import Any

import joblib

from soundnet_kd.errors import SettingsError, one_line
from soundnet_kd.shards.ray_workers import Look, library_versions, look_around
from soundnet_kd.storage import lock_file, make_folder
from soundnet_kd.system.extras import import_extra

log = logging.getLogger(__name__)

ANSWER_SECONDS = 5.0
"""A cluster that takes longer to accept a connection is not there."""
LOOK_SECONDS = 120.0
"""A machine that takes longer to start a process and to look around does not answer."""
STORE_BYTES = 2**29
"""Memory that a Ray which is started here takes for what is decoded; what has no room there goes to the disk."""
TOKEN = ".seen-"
"""How a file's name begins that is there for a moment, to see who sees it."""
ADDRESS_VARIABLE = "RAY_ADDRESS"
"""Names the cluster for a program that `ray job submit` starts."""
MODE_VARIABLE, TOKEN_VARIABLE = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN"
"""Say that, and by which secret, whoever asks Ray for something has to show that he may."""
QUIET: Mapping[str, str] = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",
}
"""What keeps Ray from reporting to its makers, and what it tells of its nodes from a program's own answer."""


@dataclass(frozen=True)
class Machine:
    """A machine of a cluster, or what Ray takes for one: a node.

    Attributes
    ----------
    id : str
    name : str
        With its address.
    cpus, gpus : float
        That Ray may give away.
    """

    id: str
    name: str
    cpus: float
    gpus: float


class RayCluster:
    """A cluster of Ray's that this process is connected to.

    Attributes
    ----------
    ray : module
    address : str
        Of its head.
    """

    def __init__(self, ray: Any, seen: Sequence[Path]) -> None:
        self.ray = ray
        self.address = str(ray.get_runtime_context().gcs_address)
        self._seen = seen
        self._looked_at: set[str] = set()
        self._asked: dict[str, tuple[Any, float]] = {}

    def machines(self) -> list[Machine]:
        """Return the machines that are there now."""
        return [
            Machine(
                node["NodeID"],
                f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})",
                float(node["Resources"].get("CPU", 0)),
                float(node["Resources"].get("GPU", 0)),
            )
            for node in self.ray.nodes()
            if node["Alive"]
        ]

    def on(self, machine: Machine) -> Any:
        """Return what tells Ray to run something on a machine and nowhere else."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        return NodeAffinitySchedulingStrategy(machine.id, soft=False)

    def require_seen(self, files: Sequence[Path]) -> None:
        """Check that all machines see some files too, those that are there and those that will come.

        Raises
        ------
        SettingsError
            If one does not.
        """
        self._seen = [*self._seen, *(file for file in files if file.exists())]
        self._looked_at.clear()
        self._asked.clear()
        self.require_alike(self.machines())

    def require_alike(self, machines: Sequence[Machine]) -> None:
        """Check that machines have what this one has.

        Raises
        ------
        SettingsError
            If one has another version of something, or does not see the files that all have to see.
        """
        self.alike(machines)
        for machine in machines:
            if machine.id in self._asked:
                self._check(machine, LOOK_SECONDS)

    def alike(self, machines: Sequence[Machine]) -> list[Machine]:
        """Return those of some machines that have what this one has, as far as they have answered; others are asked.

        Raises
        ------
        SettingsError
            As `require_alike` does.
        """
        look = self.ray.remote(look_around)
        for machine in machines:
            if machine.id not in self._looked_at and machine.id not in self._asked:
                options = {"num_cpus": 0, "max_retries": 0, "scheduling_strategy": self.on(machine)}
                self._asked[machine.id] = look.options(**options).remote(self._seen), monotonic()
        for machine in machines:
            answer, since = self._asked.get(machine.id, (None, 0.0))
            if answer is not None and (self._is_ready(answer) or monotonic() - since > LOOK_SECONDS):
                self._check(machine, ANSWER_SECONDS)
        return [machine for machine in machines if machine.id in self._looked_at]

    def _is_ready(self, answer: Any) -> bool:
        return bool(self.ray.wait([answer], timeout=0, fetch_local=False)[0])

    def _check(self, machine: Machine, seconds: float) -> None:
        """Look at what a machine says of itself within some seconds; one that is lost says nothing."""
        from ray.exceptions import GetTimeoutError, RayError, RayTaskError

        answer, _ = self._asked.pop(machine.id)
        try:
            found: Look = self.ray.get(answer, timeout=seconds)
        except GetTimeoutError as error:
            raise SettingsError(
                f"the machine {machine.name} of the Ray cluster started no process within {LOOK_SECONDS:g} s; see its "
                "logs, or take it out of the cluster"
            ) from error
        except RayTaskError as error:
            raise SettingsError(
                f"the machine {machine.name} of the Ray cluster cannot run soundnet-kd ({one_line(error.cause)}); "
                f"install soundnet-kd {library_versions()['soundnet-kd']} there as here"
            ) from error
        except RayError:
            return
        here = library_versions()
        others = [
            f"{name} {version} (here {here[name]})"
            for name, version in found.versions.items()
            if version != here.get(name)
        ]
        if others:
            raise SettingsError(
                f"the machine {machine.name} of the Ray cluster has {', '.join(others)}; install the same version "
                "on all"
            )
        if found.unseen:
            raise SettingsError(
                f"the machine {machine.name} of the Ray cluster does not see {_folder_of(found.unseen[0])}; put it on "
                "a disk that all machines mount at the same place"
            )
        self._looked_at.add(machine.id)


@contextmanager
def connect(address: str | None, out: Path | None = None) -> Iterator[RayCluster]:
    """Connect to a Ray cluster, and check that all its machines can do this one's work.

    Parameters
    ----------
    address : str, optional
        HOST:PORT of its head, or auto for the one that this machine belongs to. [default: what RAY_ADDRESS says, else a
        Ray of its own on this machine, which ends with the block]
    out : Path, optional
        A folder that all machines have to see.

    Raises
    ------
    SettingsError
        If Ray is not installed, there is no cluster at the address, or a machine has another version of something or
        does not see a file; each in one line.
    """
    with ExitStack() as held:
        held.enter_context(_environment(QUIET))
        address = address or os.environ.get(ADDRESS_VARIABLE) or "local"
        if address == "local" and "ray" not in sys.modules and MODE_VARIABLE not in os.environ:
            # Ray listens to all of the network, and does what anyone asks, unless he has to show that he knows a
            # secret. It takes note of that once, when it is imported.
            os.environ |= {MODE_VARIABLE: "token", TOKEN_VARIABLE: secrets.token_hex(32)}
        ray = import_extra("ray", "ray")
        if not ray.is_initialized():
            held.enter_context(_connected(ray, address))
        cluster = RayCluster(ray, () if out is None else (held.enter_context(_token(out)),))
        cluster.require_alike(cluster.machines())
        yield cluster


@contextmanager
def _connected(ray: Any, address: str) -> Iterator[None]:
    own = address == "local"
    if not own:
        _require_answer(address)
    settings = {"num_cpus": joblib.cpu_count(), "object_store_memory": STORE_BYTES} if own else {}
    # Ray ends a process at SIGTERM in its own way.
    handler = signal.getsignal(signal.SIGTERM)
    try:
        context = ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False, **settings)
    except Exception as error:
        ray.shutdown()
        where = "no Ray could be started here" if own else f"the Ray cluster at {address} cannot be joined"
        raise SettingsError(f"{where} ({one_line(error)}); {'see its logs' if own else _CURE}") from error
    try:
        if current_thread() is main_thread():
            signal.signal(signal.SIGTERM, handler)
        if context.dashboard_url:
            log.info("Ray's dashboard is at http://%s", context.dashboard_url)
        yield
    finally:
        ray.shutdown()


_CURE = (
    "start it with `ray start --head`, join it from here with `ray start --address HOST:PORT`, or leave --address out"
)


def _require_answer(address: str) -> None:
    """Check that something answers at an address: Ray itself tries for a minute."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if "://" in address or not host or not port.isdigit():
        raise SettingsError(
            f"the address of a Ray cluster is HOST:PORT, such as 10.0.0.1:6379, or auto, not {address!r}; run the "
            "command on a machine of the cluster"
        )
    if not answers(address):
        raise SettingsError(f"no Ray cluster answers at {address}; {_CURE}")


def answers(address: str) -> bool:
    """Return whether something accepts a connection at HOST:PORT."""
    host, _, port = address.rpartition(":")
    with suppress(OSError):
        socket.create_connection((host.strip("[]"), int(port)), ANSWER_SECONDS).close()
        return True
    return False


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables for the block, unless the user has."""
    set_here = {name: value for name, value in variables.items() if name not in os.environ}
    os.environ.update(set_here)
    try:
        yield
    finally:
        for name in set_here:
            os.environ.pop(name, None)


@contextmanager
def _token(out: Path) -> Iterator[Path]:
    """Write a file to a folder for the block, to see who sees it; those that killed processes left are removed."""
    from filelock import Timeout

    make_folder(out)
    for left in out.glob(f"{TOKEN}*"):
        # One of a process that lives is locked.
        with suppress(Timeout), lock_file(left, wait=False, tell=False, leave=False):
            pass
    token = out.resolve() / f"{TOKEN}{secrets.token_hex(8)}"
    with lock_file(token, tell=False, leave=False):
        # Where a disk has no locks, nothing has made it yet.
        token.touch()
        try:
            yield token
        finally:
            token.unlink(missing_ok=True)


def _folder_of(file: Path) -> Path:
    return file.parent if file.name.startswith(TOKEN) else file


def places(machines: Sequence[Machine], gpus_per_network: float, networks: int | None) -> Counter[str]:
    """Distribute processes with networks over machines: as many as there can be for each GPU, or one without GPUs.

    Parameters
    ----------
    machines : sequence of Machine
    gpus_per_network : float
        0 for networks that run on CPUs.
    networks : int, optional
        At most this many; without GPUs at most one for each CPU.

    Returns
    -------
    Counter from a machine's id to how many
    """
    if gpus_per_network:
        room = {machine.id: int(machine.gpus / gpus_per_network + 1e-6) for machine in machines}
    else:
        room = {machine.id: int(machine.cpus) if networks else min(1, int(machine.cpus)) for machine in machines}
    given: Counter[str] = Counter()
    total = sum(room.values()) if networks is None else min(networks, sum(room.values()))
    while given.total() < total:
        for each in room:
            if given[each] < room[each] and given.total() < total:
                given[each] += 1
    return given


def require_counts(networks: int | None, decoders: int | None) -> None:
    """Check that what is counted is at least 1, where it is given.

    Raises
    ------
    SettingsError
        If it is not.
    """
    for name, value in (("networks", networks), ("decoders", decoders)):
        if value is not None and value < 1:
            raise SettingsError(f"{name} is {value}; it has to be at least 1")


def require_sizes(
    machines: Sequence[Machine], gpus_per_network: float, networks: int | None, decoders: int | None
) -> None:
    """Check that a cluster has room for what is asked for.

    Raises
    ------
    SettingsError
        If it has not.
    """
    require_counts(networks, decoders)
    cpus, gpus = sum(int(machine.cpus) for machine in machines), sum(machine.gpus for machine in machines)
    if not cpus:
        raise SettingsError("the Ray cluster has no CPU to decode with; start a machine of it with --num-cpus")
    if decoders is not None and decoders > cpus:
        raise SettingsError(f"decoders is {decoders}; the Ray cluster has {cpus} CPUs, each of which decodes one file")
    found = places(machines, gpus_per_network, networks).total()
    if networks is not None and found < networks:
        has = f"{gpus:g} GPUs" if gpus_per_network else f"{cpus} CPUs"
        raise SettingsError(f"networks is {networks}; the Ray cluster has {has}, which is enough for {found}")
    if not found:
        raise SettingsError(
            f"the Ray cluster has {gpus:g} GPUs, but a network is to have {gpus_per_network:g}; use --device cpu"
        )
    if networks is not None and decoders is not None and decoders < networks:
        raise SettingsError(
            f"decoders is {decoders} and networks {networks}; each of these needs one that decodes for it"
        )
