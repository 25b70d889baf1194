"""Failures of the machine in one line with the cure: its disk, its memory, its rights, its libraries.

Libraries report such failures in many ways, and often in words that blame the file at hand. Here they are separated
from those of a file, so that a good file is never called a bad one.
"""

import errno
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from soundnet_kd.errors import SoundNetKDError


class MachineError(SoundNetKDError):
    """The machine ran out of something or took something away; neither a setting nor a file is to blame."""


_AGAIN = "run the same command again, it goes on from what it has written"
_FULL = f"make room and {_AGAIN}"
_LOST = f"see that the disk is there and sound, and {_AGAIN}"
_LOCKS = "choose another disk, or set HDF5_USE_FILE_LOCKING=FALSE"

NO_LOCKS = frozenset({errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, 524})
"""Error numbers of disks without locks; 524 is Linux's own ENOTSUPP, of which Python does not know."""

_BY_NAME: Mapping[str, tuple[str, str]] = {
    "ENOSPC": ("the disk is full", _FULL),
    "EDQUOT": ("the quota of the disk is used up", _FULL),
    "EFBIG": ("the file is larger than this disk or `ulimit -f` allows", "choose another disk, or raise the limit"),
    "EROFS": ("the disk is read-only", "choose another place, or mount it for writing"),
    "EACCES": ("permission denied", "change its rights or its owner, or choose another place"),
    "EPERM": ("permission denied", "change its rights or its owner, or choose another place"),
    "ENAMETOOLONG": ("the name is too long for this disk", "choose a shorter --out or shorter names"),
    "EMFILE": ("too many files are open", "raise the limit with `ulimit -n 4096`, or use fewer --workers"),
    "ENFILE": ("too many files are open on this machine", "use fewer --workers, or end other programs"),
    "ENOMEM": ("memory is used up", "use a smaller --batch_size or fewer --workers, or end other programs"),
    "EAGAIN": (
        "another program holds it, or there are too many processes",
        "end other programs, or raise the limit with `ulimit -u`",
    ),
    "EBUSY": ("another program holds it", "end that program"),
    "ETXTBSY": ("another program holds it", "end that program"),
    "ENOLCK": ("the disk has no locks", _LOCKS),
    "EOPNOTSUPP": ("the disk cannot do this; it may have no locks", _LOCKS),
    "ENOTSUP": ("the disk cannot do this; it may have no locks", _LOCKS),
    "ESTALE": ("the network disk was lost", _LOST),
    "EIO": ("the disk fails, or was lost", _LOST),
    "EREMOTEIO": ("the network disk fails", _LOST),
    "EHOSTDOWN": ("the network disk was lost", _LOST),
    "ENOTCONN": ("the network disk was lost", _LOST),
    "ESHUTDOWN": ("the network disk was lost", _LOST),
    "ENXIO": ("the disk was lost", _LOST),
    "ENODEV": ("the disk was lost", _LOST),
    "ENOMEDIUM": ("the disk was lost", _LOST),
    "EADDRINUSE": ("the network port is taken", "end the other run, or run the command again"),
    "ECONNREFUSED": ("the other machine or process does not answer", _AGAIN),
    "ECONNRESET": ("the other machine or process is gone", _AGAIN),
    "ECONNABORTED": ("the other machine or process is gone", _AGAIN),
    "EHOSTUNREACH": ("the other machine cannot be reached", "check the network"),
    "ENETUNREACH": ("the network cannot be reached", "check the network"),
    "ETIMEDOUT": ("the other machine or the network disk does not answer", _AGAIN),
}
_BY_PATH: Mapping[str, tuple[str, str]] = {
    "ENOENT": ("there is no such file or folder (any more)", "check the path"),
    "ENOTDIR": ("a file is where a folder should be", "check the path"),
    "EISDIR": ("it is a folder, not a file", "check the path"),
    "ELOOP": ("links lead in a circle", "check the path"),
}
_BY_NUMBER: Mapping[int, tuple[str, str]] = {524: _BY_NAME["ENOLCK"]} | {
    getattr(errno, name): words for name, words in reversed(list(_BY_NAME.items())) if hasattr(errno, name)
}

_SHARED_MEMORY = (
    "shared memory (/dev/shm) is used up",
    "give more of it (docker run --shm-size 2g), or read in the main process with --workers 0",
)
_GPU_MEMORY = ("the GPU's memory is used up", "use a smaller --batch_size, or end other programs on it")
_KILLED = (
    "a process that worked for this one was killed, most likely for want of memory",
    "use fewer --workers or a smaller --batch_size, and run the same command again",
)
_ENDED = (
    "a process that worked for this one ended unexpectedly",
    "run the same command again, or with --workers 0; a script of yours has to start its work under "
    '`if __name__ == "__main__":`',
)
_OLD_DRIVER = (
    "the GPU and its driver do not go with this PyTorch",
    "install one that does (pytorch.org/get-started/locally), or use --device cpu",
)
_LIBRARY = ("a library is missing or of the wrong version", "install again with `pip install --upgrade soundnet-kd`")
_CUT = ("it could not be written whole, most likely since the disk is full", _FULL)

_BY_WORDS: tuple[tuple[str, tuple[str, str]], ...] = (
    (r"Bus error|shared memory|/torch_\d|torch_shm_manager|No space left on device.*(shm|sem)", _SHARED_MEMORY),
    (r"(CUDA|MPS|XPU|HIP).*out of memory|CUBLAS_STATUS_ALLOC_FAILED|CUDNN_STATUS_ALLOC_FAILED", _GPU_MEMORY),
    (
        r"can't allocate memory|not enough memory|bad_alloc|[Uu]nable to allocate|[Cc]annot allocate memory",
        _BY_NAME["ENOMEM"],
    ),
    (r"killed by signal: (Killed|9\b)|SIGKILL|exit ?codes?\b.{0,20}-9\b", _KILLED),
    (
        r"DataLoader worker .*(exited unexpectedly|killed by signal)|process pool was terminated abruptly|"
        r"managed by the executor was unexpectedly terminated",
        _ENDED,
    ),
    (r"Too many open files", _BY_NAME["EMFILE"]),
    (r"can't start new thread|Resource temporarily unavailable", _BY_NAME["EAGAIN"]),
    (r"inline_container.*unexpected pos|PytorchStreamWriter failed|\d+ requested and \d+ written", _CUT),
    (r"driver (version )?is (insufficient|too old)|no kernel image|CUDA driver initialization failed", _OLD_DRIVER),
)
_LIBRARIES = re.compile(r"cannot open shared object file|undefined symbol|version `\S+' not found|DLL load failed")
_MAX_BYTES = 2**46
"""No machine has so much memory; a request for it comes from a broken file."""
_NOT_OF_A_PATH = (_SHARED_MEMORY, _GPU_MEMORY, _KILLED, _ENDED, _OLD_DRIVER, _BY_NAME["ENOMEM"])
_NUMBERS = re.compile(r"errno = (\d+)|os error (\d+)|\[Errno (\d+)\]")
_PATHS = re.compile(r"(?:file)?name = '([^']+)'")


def machine_error(error: BaseException, path: Path | None = None) -> MachineError | None:
    """Return an error in one line where the machine is to blame; None where that is not known.

    Parameters
    ----------
    error : exception
        What a library raised; those that it came from are looked at too.
    path : Path, optional
        What was in hand, if the error does not say it itself.
    """
    causes = list(_chain(error))
    # The system's own error numbers come before the words of a library.
    for cause in sorted(causes, key=lambda each: errno_of(each) not in _BY_NUMBER):
        if isinstance(cause, MachineError):
            return cause
        found = _find_words(cause)
        if found is not None:
            where = _path_of(cause) or (path if found not in _NOT_OF_A_PATH else None)
            (what, cure), reason = found, _reason(cause)
            subject = f"{os.fsencode(where).decode('utf-8', 'backslashreplace')}: " if where else ""
            return MachineError(f"{subject}{what} ({reason}); {cure}")
    return None


@contextmanager
def translate_machine_errors(path: Path) -> Iterator[None]:
    """Turn what the machine is to blame for into a MachineError that names `path`; all else goes on as it is."""
    try:
        yield
    except SoundNetKDError:
        raise
    except Exception as error:
        translated = machine_error(error, path)
        if translated is None:
            raise
        raise translated from error


def explain_error(error: BaseException) -> str:
    """Return in one line why a program ends unexpectedly."""
    known = machine_error(error)
    if known is not None:
        return str(known)
    if "failed to map segment" in str(error):
        # A library does not fit into memory, or into what `ulimit -v` leaves.
        return f"{_BY_NAME['ENOMEM'][0]} ({' '.join(str(error).split())}); {_BY_NAME['ENOMEM'][1]}"
    if isinstance(error, ImportError) or _LIBRARIES.search(str(error)):
        return f"{_LIBRARY[0]} ({' '.join(str(error).split())}); {_LIBRARY[1]}"
    name = errno.errorcode.get(errno_of(error) or 0, "")
    if isinstance(error, OSError) and name in _BY_PATH:
        return f"{_path_of(error) or 'a path'}: {_BY_PATH[name][0]}; {_BY_PATH[name][1]}"
    return f"{type(error).__name__}: {' '.join(str(error).split())} (this was not foreseen; --debug shows where)"


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    rest: BaseException | None = error
    while rest is not None and id(rest) not in seen:
        seen.add(id(rest))
        yield rest
        rest = rest.__cause__ or (None if rest.__suppress_context__ else rest.__context__)


def _find_words(error: BaseException) -> tuple[str, str] | None:
    if isinstance(error, MemoryError) and _is_possible(str(error)):
        return _BY_NAME["ENOMEM"]
    text = str(error)
    number = errno_of(error)
    if number is not None and number in _BY_NUMBER:
        return _SHARED_MEMORY if _is_of_shared_memory(error) else _BY_NUMBER[number]
    # Only what libraries raise is read for words; what a file's content says is not.
    if isinstance(error, RuntimeError | OSError):
        found = next((words for pattern, words in _BY_WORDS if re.search(pattern, text)), None)
        return found if _is_possible(text) else None
    return None


def _is_of_shared_memory(error: BaseException) -> bool:
    frame = error.__traceback__
    while frame is not None:
        # Errors of semaphores do not name their place.
        if Path(frame.tb_frame.f_code.co_filename).parts[-2:] == ("multiprocessing", "synchronize.py"):
            return True
        frame = frame.tb_next
    return "/dev/shm" in str(error) or "/torch_" in str(error)


def _is_possible(text: str) -> bool:
    """Whether what was asked of the memory could ever be there; a broken file asks for any size."""
    found = re.search(r"allocate:? (\d+) bytes|[Uu]nable to allocate ([\d.]+) ([KMGTPE]?)i?B", text)
    if not found:
        return True
    size = float(found[1]) if found[1] else float(found[2]) * 1024 ** " KMGTPE".index(found[3] or " ")
    return size < _MAX_BYTES


def errno_of(error: BaseException) -> int | None:
    """Return the system's number of an error, which HDF5 and safetensors put into words; None where there is none."""
    number = getattr(error, "errno", None)
    if isinstance(number, int):
        return number
    found = _NUMBERS.search(str(error))
    return int(next(filter(None, found.groups()))) if found else None


def _path_of(error: BaseException) -> str | None:
    named = getattr(error, "filename", None)
    if not isinstance(named, str | bytes | os.PathLike) or not named:
        found = _PATHS.search(str(error))
        if found is None:
            return None
        named = found[1]
    path = Path(os.fsdecode(named))
    # Files are written beside their place, which is what a user knows.
    return str(path.with_name(path.name.removeprefix(".partial-"))) if path.name else str(path)


def _reason(error: BaseException) -> str:
    """Return a library's own words, in one short line."""
    number = errno_of(error)
    words = os.strerror(number) if number in _BY_NUMBER and number is not None and number != 524 else str(error)
    # A process that reads hands its whole traceback over, as text.
    words = words.strip().splitlines()[-1] if "Traceback" in words else words
    line = " ".join(words.split()) or type(error).__name__
    return line if len(line) <= 160 else f"{line[:159]}…"
