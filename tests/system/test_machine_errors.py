"""What the machine is to blame for is told in its words, and nothing else is."""

import errno
import multiprocessing
import os
import pickle
import resource
import signal
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from soundnet_kd.errors import FormatError, MediaError
from soundnet_kd.media import write_audio
from soundnet_kd.media.container import translate_decoding_errors
from soundnet_kd.storage import atomic_write, read_json
from soundnet_kd.system.machine_errors import MachineError, explain_error, machine_error, translate_machine_errors

POOL = "A process in the process pool was terminated abruptly while the future was running or pending."
LOKY = "A worker process managed by the executor was unexpectedly terminated. The exit codes of the workers are {{{}}}"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "x"), "p: the disk is full .*make room and run the same command again"),
        (OSError(errno.EDQUOT, "x"), "p: the quota of the disk is used up"),
        (OSError(errno.EROFS, "x", "/data/out"), "/data/out: the disk is read-only"),
        (PermissionError(errno.EACCES, "x", "/data/out"), "/data/out: permission denied .*rights"),
        (OSError(errno.ENAMETOOLONG, "x"), "p: the name is too long"),
        (OSError(errno.EMFILE, "x"), "p: too many files are open .*ulimit -n"),
        (OSError(errno.ESTALE, "x"), "p: the network disk was lost"),
        (OSError(errno.EIO, "x"), "p: the disk fails, or was lost"),
        (OSError(524, "x"), "p: the disk has no locks"),
        (OSError("Unable to open file (file write failed: errno = 28, filename = 'a.h5')"), "a.h5: the disk is full"),
        (RuntimeError("Can't decrement id ref count (unable to close file, errno = 28)"), "p: the disk is full"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "p: the disk is full"),
        (RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534"), "not be written whole"),
        (OSError("110250 requested and 74752 written"), "p: it could not be written whole"),
        (MemoryError(), "^memory is used up .*smaller --batch_size"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9000 bytes."), "^memory is"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), "^the GPU's memory is used up"),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error"), "^shared .*--shm-size.*--workers 0"),
        (RuntimeError("unable to allocate shared memory(shm) for file </torch_1_2>"), "^shared memory .*--shm-size"),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."), "^a process .*killed"),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Segmentation fault."), "ended unexpectedly"),
        (RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly"), "ended unexpectedly .*__main__"),
        (BrokenProcessPool(LOKY.format("SIGSEGV(-11)")), "ended unexpectedly"),
        (BrokenProcessPool(LOKY.format("SIGKILL(-9)")), "^a process .* killed"),
        (BrokenProcessPool(POOL), "^a process .* ended unexpectedly .*--workers 0"),
        (RuntimeError("CUDA error: no kernel image is available for execution"), "driver do not go with"),
        (RuntimeError("can't start new thread"), "too many processes"),
    ],
)  # fmt: skip
def test_words_and_cure_of_each(error: Exception, words: str) -> None:
    with pytest.raises(MachineError, match=words) as told, translate_machine_errors(Path("p")):
        raise error
    assert "\n" not in str(told.value)
    outer = ValueError("what came of it")
    outer.__cause__ = error
    assert str(machine_error(outer, Path("p"))) == str(told.value)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no space left on device"),
        KeyError("memory"),
        OSError("file signature not found"),
        OSError("truncated file: eof = 1000"),
        RuntimeError("PytorchStreamReader failed reading zip archive: failed finding central directory"),
        # What only a broken file asks for.
        MemoryError("Unable to allocate 7.28 PiB for an array"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 1152921504606846976 bytes."),
        FileNotFoundError(errno.ENOENT, "x"),
    ],
)
def test_all_else_is_not_the_machines(error: Exception) -> None:
    assert machine_error(error, Path("p")) is None
    with pytest.raises(type(error)), translate_machine_errors(Path("p")):
        raise error


def test_what_nobody_foresaw_is_not_called_a_full_disk() -> None:
    assert explain_error(KeyError("a\nb")).startswith("KeyError: ")
    assert "disk" not in explain_error(KeyError("a"))
    assert explain_error(FileNotFoundError(errno.ENOENT, "x", "a.wav")) == (
        "a.wav: there is no such file or folder (any more); check the path"
    )
    assert "pip install" in explain_error(OSError("libsndfile.so.1: cannot open shared object file"))
    assert "pip install" in explain_error(ModuleNotFoundError("No module named 'umap'"))
    assert explain_error(ImportError("libtorch.so: failed to map segment from shared object")).startswith(
        "memory is used"
    )


def test_the_systems_own_number_and_the_place_that_a_user_knows_are_told() -> None:
    """A library's words come later, and files are written beside their place."""
    library = RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534")
    library.__context__ = OSError(errno.ENOSPC, "No space left on device", "run/.partial-best.ckpt")
    assert str(machine_error(library)).startswith("run/best.ckpt: the disk is full (No space left on device); ")


def test_semaphores_lie_in_shared_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("_multiprocessing.SemLock", refuse)
    with pytest.raises(OSError, match="No space") as failed:
        multiprocessing.get_context("spawn").Lock()
    assert "--shm-size" in explain_error(failed.value)


@pytest.fixture
def _little_room() -> Iterator[None]:
    """Let no file grow beyond 20 kB, as a full disk; the system then has a number of its own for it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, ignored)


def write_hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["a"] = np.arange(50_000.0)


def write_checkpoint(path: Path) -> None:
    with path.open("wb") as file:
        torch.save(torch.rand(50_000), file)


WRITERS: dict[str, Callable[[Path], Any]] = {
    "bytes": lambda path: path.write_bytes(bytes(100_000)),
    "HDF5": write_hdf5,
    "checkpoint": write_checkpoint,
    "safetensors": lambda path: save_file({"a": torch.rand(50_000)}, path),
    "array": lambda path: np.save(path.open("wb"), np.arange(50_000.0)),
}


@pytest.mark.usefixtures("_little_room")
@pytest.mark.parametrize("writer", WRITERS)
def test_a_file_that_does_not_fit_is_named_with_the_cure(writer: str, tmp_path: Path) -> None:
    """By what each library really raises."""
    out = tmp_path / "out.bin"
    with pytest.raises(MachineError) as told, atomic_write(out) as partial:
        WRITERS[writer](partial)
    assert "out.bin: " in str(told.value)
    assert "the file is larger than" in str(told.value) or "could not be written whole" in str(told.value)
    assert not out.exists()


def test_what_fails_while_decoding_is_blamed_on_whom_it_concerns(tmp_path: Path) -> None:
    sound = tmp_path / "a.wav"
    write_audio(sound, np.zeros(100, np.float32), 22_050)
    for machines in (MemoryError(), OSError(errno.EIO, "x"), OSError(errno.EMFILE, "x"), OSError(errno.ENOSPC, "x")):
        with pytest.raises(MachineError), translate_decoding_errors(sound):
            raise machines
    for files in (ValueError("odd"), PermissionError(errno.EACCES, "x"), IndexError()):
        with pytest.raises(MediaError, match=r"a\.wav cannot be decoded"), translate_decoding_errors(sound):
            raise files
    assert isinstance(pickle.loads(pickle.dumps(MachineError("x"))), MachineError)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="rights mean nothing to the superuser")
def test_rights_are_told(tmp_path: Path) -> None:
    secret = tmp_path / "run.json"
    secret.write_text("{}")
    secret.chmod(0)
    with pytest.raises(MachineError, match=r"run\.json: permission denied"):
        read_json(secret)


def test_a_file_that_is_no_json_is_still_told_so(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(FormatError, match="is not valid JSON"):
        read_json(tmp_path / "run.json")
