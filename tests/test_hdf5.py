"""HDF5 files on disks without locks, and in other processes."""

import errno
import fcntl
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from torch.utils.data import DataLoader, Dataset

from soundnet_kd import FeatureCache, SoundNet5
from soundnet_kd.commands.extract import extract
from soundnet_kd.data.target_parts import TargetsPart, part_files
from soundnet_kd.errors import FormatError, RunConflictError
from soundnet_kd.hdf5 import OpenHdf5, open_hdf5
from soundnet_kd.media import write_audio
from soundnet_kd.storage import lock_file, lock_folder
from soundnet_kd.system.machine_errors import MachineError
from tests.targets import make_clip, make_targets

WITHOUT_LOCKS = [errno.ENOLCK, errno.EOPNOTSUPP, 524]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    rng = np.random.default_rng(0)
    for name in "abcd":
        write_audio(folder / "sounds" / f"{name}.wav", rng.uniform(-0.5, 0.5, 22_050).astype(np.float32), 22_050)
    extract(folder / "sounds", SoundNet5({"objects": ("cat", "dog")}).eval(), folder / "f.h5", ["conv1"], device="cpu")
    return folder / "f.h5"


@pytest.fixture
def no_locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Let filelock and HDF5 meet a disk that has no locks."""
    number: int = request.param
    real = h5py.File

    def refuse(*arguments: Any) -> None:
        raise OSError(number, "no locks here")

    class File(real):  # type: ignore[misc,valid-type]
        def __init__(self, path: Path, mode: str = "r", locking: Any = None) -> None:
            if locking is not False:
                raise OSError(number, f"Unable to open file (unable to lock file, errno = {number})")
            super().__init__(path, mode, locking=False)

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(h5py, "File", File)
    return number


@pytest.mark.parametrize("no_locks", WITHOUT_LOCKS, indirect=True)
def test_a_disk_without_locks_is_used_and_told_of(
    no_locks: int, cache: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    sounds = cache.parent / "sounds"
    student = SoundNet5({"objects": ("cat", "dog")}).eval()
    result = extract(sounds, student, tmp_path / "f.h5", ["conv1"], device="cpu")
    assert (result.clips, result.failures) == (4, {})
    assert caplog.messages[1:] == [
        f"the disk of {tmp_path / 'f.h5.parts'} has no locks; start no second run that writes there"
    ]
    # HDF5 does not open a file with and without locks at once.
    with FeatureCache(shutil.copy(cache, tmp_path / "copy.h5")) as features:
        assert features["conv1"].shape == (4, 32)


def test_other_failures_of_a_lock_are_not_taken_for_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any) -> None:
        raise OSError(errno.EIO, "gone")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(OSError, match="gone"), lock_file(tmp_path / "lock"):
        pass


SHIM = "#include <errno.h>\nint flock(int f, int o) { errno = %d; return -1; }\n"


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux") or not shutil.which("gcc"), reason="needs gcc, on Linux")
@pytest.mark.parametrize("number", [*WITHOUT_LOCKS, errno.ENOSYS])
def test_the_system_refuses_locks(number: int, cache: Path, tmp_path: Path) -> None:
    """The same with a C library whose flock fails, below filelock and HDF5 alike."""
    (tmp_path / "shim.c").write_text(SHIM % number)
    shim = tmp_path / "shim.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", shim, tmp_path / "shim.c"], check=True)
    script = (
        "import sys, logging; from pathlib import Path; logging.basicConfig(format='%(message)s')\n"
        "from soundnet_kd import FeatureCache; from soundnet_kd.storage import lock_folder\n"
        "from soundnet_kd.hdf5 import open_hdf5\n"
        "with lock_folder(Path(sys.argv[1])), open_hdf5(Path(sys.argv[1]) / 'new.h5', 'w') as file: file['a'] = [1]\n"
        "print(FeatureCache(sys.argv[2])['conv1'].shape)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "folder", cache],
        env={"LD_PRELOAD": str(shim), "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "(4, 32)\n"), done.stderr
    assert done.stderr == f"the disk of {tmp_path / 'folder'} has no locks; start no second run that writes there\n"
    with h5py.File(tmp_path / "folder" / "new.h5", "r") as file:
        assert file["a"][:].tolist() == [1]


def test_two_runs_still_keep_out_of_one_folder(tmp_path: Path) -> None:
    with lock_folder(tmp_path), pytest.raises(RunConflictError, match="another run is writing"), lock_folder(tmp_path):
        pass


class Rows(Dataset[Any]):
    def __init__(self, cache: Path) -> None:
        self.cache = FeatureCache(cache)
        self.cache["conv1"]

    def __len__(self) -> int:
        return len(self.cache.ids)

    def __getitem__(self, row: int) -> Any:
        return self.cache["conv1"][row]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_a_cache_feeds_workers_of_every_kind(method: str, cache: Path) -> None:
    with h5py.File(cache, "r") as file:
        wanted = file["layers/conv1"][:]
    rows = Rows(cache)
    batches = list(DataLoader(rows, batch_size=2, num_workers=2, multiprocessing_context=method))
    np.testing.assert_array_equal(np.concatenate([batch.numpy() for batch in batches]), wanted)
    np.testing.assert_array_equal(rows.cache["conv1"], wanted)


def test_what_holds_a_file_can_be_handed_over_and_closed(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the other process stands in another folder."""
    monkeypatch.chdir(cache.parent)
    features = FeatureCache("f.h5")
    targets = make_targets(tmp_path / "targets", [make_clip("a.mp4", 2, np.random.default_rng(0))])
    part = TargetsPart(part_files(targets)[0])
    whole = part[0].sound
    with_handles = pickle.dumps((features, part))
    monkeypatch.chdir(tmp_path)
    again, part_again = pickle.loads(with_handles)
    np.testing.assert_array_equal(again["conv1"], features["conv1"])
    np.testing.assert_array_equal(part_again[0].sound, whole)
    again.close()
    with pytest.raises((KeyError, ValueError), match=r"[Ii]nvalid|closed"):
        _ = again.labels
    assert features.labels.shape == (4,)
    closed = pickle.loads(pickle.dumps(again))
    with pytest.raises((KeyError, ValueError), match=r"[Ii]nvalid|closed"):
        _ = closed.labels


def test_a_good_cache_is_never_called_a_bad_one(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the machine refuses has its own words; a broken file has others."""

    def failing(number: int) -> Any:
        def fail(path: Path, mode: str = "r", locking: Any = None) -> None:
            raise OSError(number, f"Unable to open file (errno = {number})")

        return fail

    for number, words in (
        (errno.EMFILE, "too many files are open.*ulimit"),
        (errno.EACCES, "permission denied"),
        (errno.ESTALE, "the network disk was lost"),
        (errno.EIO, "the disk fails"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(h5py, "File", failing(number))
            with pytest.raises(MachineError, match=f"{cache}: {words}"):
                FeatureCache(cache)
    (tmp_path / "cut.h5").write_bytes(cache.read_bytes()[:3000])
    for broken in (tmp_path / "cut.h5", Path(__file__)):
        with pytest.raises(FormatError, match="is not a readable feature cache"):
            FeatureCache(broken)
    with pytest.raises(OSError, match="signature"):
        open_hdf5(Path(__file__))
    with pytest.raises(OSError, match="signature"):
        OpenHdf5(Path(__file__))
