"""Where shards are done: in this process, or on Ray."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from soundnet_kd.errors import SettingsError, nearest
from soundnet_kd.shards.ray_cluster import require_counts
from soundnet_kd.shards.ray_engine import RayEngine, on_ray

ENGINES = ("here", "ray")


@contextmanager
def shard_engine(
    engine: str,
    out: Path | None,
    device: str = "auto",
    address: str | None = None,
    networks: int | None = None,
    decoders: int | None = None,
    shard: str | None = None,
    workers: int | None = None,
) -> Iterator[RayEngine | None]:
    """Return what does shards in place of this process; None for this process.

    Parameters
    ----------
    engine : {"here", "ray"}
    out : Path or None
        A folder that all machines have to see.
    device : str
        Where the networks run.
    address, networks, decoders
        As `do_on_ray` takes them.
    shard, workers
        As `require_engine` takes them.

    Raises
    ------
    SettingsError
        If there is no such engine, something is given that is not of this one, or the cluster cannot do this.
    """
    require_engine(engine, address, networks, decoders, shard, workers)
    if engine == "here":
        yield None
        return
    with on_ray(out, address, networks, decoders, device=device) as found:
        yield found


def require_engine(
    engine: str,
    address: str | None = None,
    networks: int | None = None,
    decoders: int | None = None,
    shard: str | None = None,
    workers: int | None = None,
) -> None:
    """Check that what is given is of an engine, before anything begins.

    Parameters
    ----------
    engine : {"here", "ray"}
    address, networks, decoders
        As `do_on_ray` takes them.
    shard : str, optional
        Which of several jobs this is, which need no engine.
    workers : int, optional
        Processes that decode beside this one.

    Raises
    ------
    SettingsError
        If there is no such engine, or something is given that is not of this one.
    """
    if engine not in ENGINES:
        raise SettingsError(f"there is no engine {engine!r}{nearest(engine, ENGINES)}")
    if engine == "ray":
        if shard is not None:
            raise SettingsError(f"Ray divides the work itself; leave --shard {shard} out, or --engine ray")
        if workers is not None:
            raise SettingsError(
                f"workers decode beside this process, and on Ray none do; give --decoders {max(1, workers)} in place "
                f"of --workers {workers}, or leave --engine ray out"
            )
        require_counts(networks, decoders)
        return
    for name, value in (("address", address), ("networks", networks), ("decoders", decoders)):
        if value is not None:
            raise SettingsError(f"{name} is for a Ray cluster; add --engine ray, or leave --{name} out")
