"""Fixtures that several rooms share."""

import ctypes
import faulthandler
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

REAL_DATA = "SOUNDNET_KD_DATA"
REQUIRE_REAL = "SOUNDNET_KD_REQUIRE_REAL"
CRASHES = pytest.StashKey[int]()

# Before anything imports PyTorch: test processes side by side share the cores.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
# Before anything imports Ray: no other machine can use the clusters that tests start, and nobody is told of them.
os.environ |= {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": os.environ.get("RAY_AUTH_TOKEN") or secrets.token_hex(32),
}


def pytest_configure(config: pytest.Config) -> None:
    """Keep what a crash is told to: while a test runs, standard error is a file that nobody sees after one."""
    config.stash[CRASHES] = os.dup(2)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object | None) -> None:
    """Say with which status a process of pytest-xdist ended that died; minus the number of the signal that ended it."""
    if error:
        process = node.gateway._io.popen
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
        node.config.get_terminal_writer().line(f"\n{node.gateway.id} has exit status {process.poll()}", flush=True)


@pytest.fixture(scope="module", autouse=True)
def _crashes_told(pytestconfig: pytest.Config) -> Iterator[None]:
    """Say where a process is that crashes after a module with Ray, which takes faulthandler's handlers away."""
    yield
    if faulthandler.is_enabled():
        faulthandler.disable()
        faulthandler.enable(pytestconfig.stash[CRASHES])


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real data; the test is skipped without it, or fails where CI demands it."""
    folder = os.environ.get(REAL_DATA)
    if folder:
        return Path(folder).resolve(strict=True)
    if os.environ.get(REQUIRE_REAL) == "1":
        pytest.fail(f"{REQUIRE_REAL}=1 but {REAL_DATA} does not point at the real data")
    pytest.skip(f"set {REAL_DATA} to the folder of real data")


@pytest.fixture(scope="module", autouse=True)
def _memory_given_back() -> Iterator[None]:
    """Give the system what a module's tests have freed: glibc keeps it, some gigabytes by the end of all tests."""
    yield
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)


@pytest.fixture
def signals_heeded() -> Iterator[None]:
    """Let this process and those that a test starts heed SIGINT and SIGHUP, also under nohup or in the background."""
    handlers: dict[str, Any] = {"SIGINT": signal.default_int_handler, "SIGHUP": signal.SIG_DFL}
    before = {
        number: signal.signal(number, handler)
        for name, handler in handlers.items()
        if (number := getattr(signal, name, None)) is not None
    }
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="module")
def small_soundnet8() -> Iterator[None]:
    """Give SoundNet8 an eighth of its filters for the tests of a module."""
    from tests import small_student

    with small_student.small_soundnet8():
        yield
