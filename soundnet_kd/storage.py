"""How files are written: whole or absent, each with the settings and versions that made it."""

import csv
import json
import logging
import os
import re
import stat
import unicodedata
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import Any

from soundnet_kd.errors import FormatError, RunConflictError, SettingsError
from soundnet_kd.system.machine_errors import NO_LOCKS, errno_of, translate_machine_errors

log = logging.getLogger(__name__)

FAILURES_FILE = "failures.csv"
FAILURES_SUFFIX = ".failures.csv"
LOCK = ".lock"
LOOKING_SECONDS = 10.0
"""Whoever only looks whether a lock is free holds it for a moment."""
NAMES_OF_WEIGHTS = ("weights", "sha256", "url")
"""Settings that name where weights came from; the hash of the state identifies the network itself."""


@contextmanager
def lock_folder(folder: str | Path, job: str = "") -> Iterator[None]:
    """Lock a folder against other runs for the block; the lock of a killed process is released.

    Parameters
    ----------
    folder : str or Path
    job : str, optional
        One of several that may be in it at the same time, each once.

    Raises
    ------
    RunConflictError
        If another run is in it, or for a run that is no job, a job.
    """
    folder = Path(folder)
    from filelock import Timeout

    make_folder(folder)
    with ExitStack() as held:
        try:
            if job:
                held.enter_context(lock_file(folder / f"{LOCK}-{job}", wait=False, leave=False))
                count = job.rpartition("-")[2]
                # Jobs of another number of jobs share the work otherwise.
                _require_free(folder, [file for file in _jobs(folder) if not file.name.endswith(f"-of-{count}")])
                # Others who only look hold it for a moment.
                with lock_file(folder / LOCK, seconds=LOOKING_SECONDS):
                    pass
            else:
                held.enter_context(lock_file(folder / LOCK, seconds=LOOKING_SECONDS if _jobs(folder) else 0))
                _require_free(folder, _jobs(folder))
        except Timeout as error:
            raise RunConflictError(f"another run is writing to {folder}; wait for its end, or stop it") from error
        yield


def _jobs(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"{LOCK}-*-of-*"))


def _require_free(folder: Path, locks: Iterable[Path]) -> None:
    """Require that jobs of a folder have ended, and remove the locks of those that have."""
    running = [lock.name.removeprefix(f"{LOCK}-").split("-of-") for lock in locks if not _remove_free_lock(lock)]
    if running:
        each = [
            spell_jobs([int(number) for number, of in running if of == count], int(count))
            for count in sorted({of for _, of in running})
        ]
        cure = "still writes there; wait for its end, or stop it"
        if len(running) > 1:
            cure = "still write there; wait for their end, or stop them"
        raise RunConflictError(f"{folder} is shared by jobs, of which {' and '.join(each)} {cure}")


def _remove_free_lock(lock: Path) -> bool:
    """Remove a lock that nobody holds, and return whether it was so."""
    from filelock import Timeout

    try:
        with lock_file(lock, wait=False, tell=False, leave=False):
            return True
    except Timeout:
        return False


def spell_jobs(numbers: Iterable[int], count: int) -> str:
    """Return which jobs they are: "jobs 3, 7-9 of 64"."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    text = ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
    return f"{'job' if text.isdigit() else 'jobs'} {text} of {count}"


@contextmanager
def lock_file(
    file: str | Path, wait: bool = True, seconds: float = -1, tell: bool = True, leave: bool = True
) -> Iterator[None]:
    """Hold a lock for the block; where a disk has no locks, go on without one, and `tell` so.

    Its file stays where it is, unless it is not to be left: whoever waits for it then makes another one.

    Raises
    ------
    filelock.Timeout
        If another process holds it, unless this one is to `wait`, for so many seconds or (-1) for ever.
    """
    from filelock import FileLock

    file = Path(file)
    lock = FileLock(file, timeout=seconds if wait else 0)
    try:
        with warnings.catch_warnings(record=True) as caught:
            # Where the system knows no locks at all, filelock warns and takes a file for one.
            warnings.simplefilter("always")
            lock.acquire()
        has_locks = not caught
    except OSError as error:
        if errno_of(error) not in NO_LOCKS:
            raise
        has_locks = False
    if tell and not has_locks:
        log.warning("the disk of %s has no locks; start no second run that writes there", escape_name(file.parent))
    try:
        yield
    finally:
        if has_locks and not leave:
            # Windows keeps a file that is open; one that lies there does no harm.
            with suppress(OSError):
                file.unlink()
        lock.release()


def make_folder(folder: str | Path) -> None:
    """Make a folder to write to, with those above it.

    Raises
    ------
    SettingsError
        If a file is in its way, or nothing can be written there.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except (FileExistsError, NotADirectoryError) as error:
        raise SettingsError(f"{folder} cannot be a folder, since a file is in its way; choose another --out") from error
    except OSError as error:
        raise SettingsError(f"{folder} cannot be made ({error.strerror}); choose another --out") from error
    if not writable:
        raise SettingsError(f"{folder} cannot be written to; choose another --out")


def escape_name(name: str | Path) -> str:
    r"""Return a file's name as text that any file can hold; bytes that are not UTF-8 become \xNN."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def unique_file_stems(names: Iterable[str]) -> list[str]:
    """Return each name as it can stand in a file's name, no two alike, also where capitals do not count.

    Parameters
    ----------
    names : iterable of str
        Such as classes; what file systems forbid in them becomes "_".
    """
    stems: list[str] = []
    taken: set[str] = set()
    for name in names:
        composed = unicodedata.normalize("NFC", name)
        allowed = re.sub(r'[\x00-\x1f<>:"/\\|?*]', "_", composed)
        # A file's name has at most 255 bytes.
        readable = allowed.encode(errors="replace")[:200].decode(errors="ignore").strip(" .") or "_"
        tries = (readable if number == 1 else f"{readable}-{number}" for number in count(1))
        stem = next(each for each in tries if each.casefold() not in taken)
        taken.add(stem.casefold())
        stems.append(stem)
    return stems


_owner = ""


def name_partials_after(owner: str) -> None:
    """Give the temporary files of this process names of their own, where another one may write the same file."""
    global _owner
    _owner = f"{owner}-"


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Return a path to write to; what is written there replaces `path` only when the block ends well.

    The temporary file is in the same folder under a fixed name, so a killed run leaves at most one, which the next
    run overwrites; see `name_partials_after`.
    """
    path = Path(path)
    if path.is_dir():
        raise SettingsError(f"{path} is a folder where a file is to be written; choose another --out")
    make_folder(path.parent)
    partial = path.with_name(f".partial-{_owner}{path.name}")
    try:
        with translate_machine_errors(path):
            partial.touch()
            mode = partial.stat().st_mode
            yield partial
            # Some libraries, such as safetensors, put a file of their own there, which nobody else could read.
            partial.chmod(stat.S_IMODE(mode))
            with partial.open("rb+") as handle:
                os.fsync(handle.fileno())
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_text(path: str | Path, text: str) -> None:
    """Write a text in UTF-8, whole or not at all."""
    with atomic_write(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="backslashreplace")


def read_json(path: str | Path) -> Any:
    """Read a JSON file.

    Raises
    ------
    FormatError
        If the file is not JSON.
    """
    path = Path(path)
    try:
        with translate_machine_errors(path):
            return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise FormatError(
            f"{path} is not valid JSON ({error}); delete it and run the command that wrote it again"
        ) from error


def read_own_json(path: str | Path, keys: Iterable[str], then: str) -> dict[str, Any] | None:
    """Read what an earlier start of this run left; None if it is not there, or if it is damaged and was set aside.

    Parameters
    ----------
    path : str or Path
    keys : iterable of str
        What it has to have.
    then : str
        What is done without it, such as "its fold is trained again".
    """
    path = Path(path)
    if not path.is_file():
        return None
    try:
        content = read_json(path)
    except FormatError:
        content = None
    if isinstance(content, dict) and content.keys() >= set(keys):
        return content
    rename_damaged(path, then)
    return None


def rename_damaged(path: str | Path, then: str, why: str = "damaged") -> None:
    """Rename a file of a run that is of no use any more, and warn.

    Parameters
    ----------
    path : str or Path
    then : str
        What is done without it.
    why : str
        What is wrong with it.
    """
    path = Path(path)
    kept = path.with_name(f"{path.name}.damaged")
    try:
        path.replace(kept)
    except FileNotFoundError:
        # Another job has found it too.
        return
    log.warning("%s is %s and was set aside as %s; %s", path, why, kept.name, then)


def write_csv(path: str | Path, header: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    """Write a table as UTF-8 CSV, whole or not at all."""
    path = Path(path)
    with (
        atomic_write(path) as partial,
        partial.open("w", newline="", encoding="utf-8", errors="backslashreplace") as handle,
    ):
        writer = csv.writer(handle)
        writer.writerow(header)
        writer.writerows(rows)


def write_failures(path: str | Path, failures: Mapping[str, str]) -> None:
    """Record the files that could not be used, with the reason of each; without failures there is no such file."""
    path = Path(path)
    if failures:
        write_csv(path, ("file", "reason"), sorted(failures.items()))
    else:
        path.unlink(missing_ok=True)


def read_failures(path: str | Path) -> dict[str, str]:
    """Read the reason of each file that could not be used; none if there is no such table."""
    path = Path(path)
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as handle:
        return {row["file"]: row["reason"] for row in csv.DictReader(handle)}


def failures_file(out: str | Path) -> Path:
    """Return the table of the files that an output lacks: features.h5.failures.csv for features.h5."""
    out = Path(out)
    return out.with_name(f"{out.name}{FAILURES_SUFFIX}")


def ensure_same_settings(path: str | Path, settings: Mapping[str, Any], besides: Collection[str] = ()) -> None:
    """Bind an output to the settings that make it, or check that it was made by the same ones.

    Parameters
    ----------
    path : str or Path
        The JSON file that holds the settings.
    settings : mapping
        Anything that JSON can hold.
    besides : collection of str
        Settings that are written down, but may differ.

    Raises
    ------
    RunConflictError
        If `path` holds other settings; the message names those that differ.
    """
    path = Path(path)
    require_same_settings(path, settings, besides)
    if not path.exists():
        make_folder(path.parent)
        # Of many that start at the same time one writes them, and the others compare theirs.
        lock = path.with_name(f"{LOCK}-{path.name}")
        with lock_file(lock, tell=False, leave=False):
            require_same_settings(path, settings, besides)
            if not path.exists():
                write_json(path, settings)


def require_same_settings(path: str | Path, settings: Mapping[str, Any], besides: Collection[str] = ()) -> None:
    """Refuse other settings as `ensure_same_settings` does, but write nothing: for before a long computation."""
    path = Path(path)
    if (found := read_settings(path)) is not None:
        wanted = json.loads(json.dumps(settings))
        before, now = ({key: value for key, value in each.items() if key not in besides} for each in (found, wanted))
        require_equal(str(path.parent), before, now)


def read_settings(path: str | Path) -> Mapping[str, Any] | None:
    """Return the settings that an output was made by; None if there are none, or damaged ones and nothing beside them.

    Raises
    ------
    FormatError
        If they are damaged, and nobody knows what made the files beside them.
    """
    path = Path(path)
    if not path.exists():
        return None
    try:
        content = read_json(path)
        if isinstance(content, dict):
            return content
        reason = "it holds no settings"
    except FormatError as error:
        reason = str(error.__cause__)
    if any(file != path and not file.name.startswith(".") for file in path.parent.iterdir()):
        raise FormatError(
            f"{path} is damaged ({reason}), so that nobody knows what made the files beside it; delete it if they were "
            "made with the settings given now, else choose another --out"
        )
    rename_damaged(path, "nothing else is there, so that the run begins anew")
    return None


def require_equal(name: str, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raise RunConflictError if `found` settings, those that made `name`, are not the `wanted` ones."""
    before, now = dict(_leaves(found)), dict(_leaves(wanted))

    def is_same(key: str) -> bool:
        *parents, name = parts = key.split(".")
        if "versions" in parts or before.get(key) == now.get(key):
            return True
        # Where a network's own hash stands, its file may have another name, or have been written anew.
        network = ".".join((*parents, "state_sha256"))
        return name in NAMES_OF_WEIGHTS and network in now and before.get(network) == now[network]

    differences = [
        f"{key} was {_short(before.get(key))}, now {_short(now.get(key))}"
        for key in sorted(before.keys() | now.keys())
        if not is_same(key)
    ]
    if differences:
        raise RunConflictError(
            f"{name} already holds a different run ({'; '.join(differences)}); choose another --out or remove it"
        )


def versions() -> dict[str, str]:
    """Versions of this package and of the libraries that its numbers depend on."""
    return {name: version(name) for name in ("soundnet-kd", "torch", "torchvision", "av", "numpy", "scikit-learn")}


def package_data(folder: str) -> Path:
    """Folder of files that come with the package: found from a wheel, a checkout and an editable install alike.

    Parameters
    ----------
    folder : {"pipelines", "pretrained_files"}
    """
    package = Path(__file__).parent
    installed = package / folder
    return installed if installed.is_dir() else package.parent / folder.removesuffix("_files")


def _leaves(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _short(value: Any, length: int = 80) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= length else f"{text[: length - 1]}…"
