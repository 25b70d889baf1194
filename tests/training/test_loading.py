"""Batches from processes that read, with and without shared memory."""

import logging
import multiprocessing
import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from soundnet_kd.data import Targets
from soundnet_kd.distill.data import TargetsDataModule
from soundnet_kd.training import loading
from tests.targets import make_clip, make_targets

Usage = namedtuple("Usage", "total used free")
BATCH_BYTES = 2 * (441_000 * 2 + 4 * 4 * 5 + 4 * 8)
"""Two clips of 20 s in 16 bit, and four steps of three objects and two scenes in 32 bit."""


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("loading")
    return make_targets(folder / "targets", [make_clip(f"{number}.mp4", 1, rng) for number in range(6)])


def batches(targets: Path, workers: int) -> list[Any]:
    return list(TargetsDataModule(Targets(targets), 2, 3, held_out=0.0, workers=workers).train_dataloader())


@pytest.fixture
def _untold() -> None:
    loading._tell.cache_clear()


@pytest.mark.usefixtures("_untold")
@pytest.mark.parametrize(("spare", "told"), [(0, 0), (-1, 1)])
def test_what_does_not_fit_into_shared_memory_goes_through_pipes(
    spare: int, told: int, targets: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Five batches: two that each of two workers reads ahead, and the one in use."""
    wanted = batches(targets, 0)
    free = 5 * BATCH_BYTES + spare
    assert free > 2**20
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(free, 0, free))
    monkeypatch.setattr(loading, "SHARED_MEMORY", targets)
    through_pipes = []
    real = DataLoader.__init__

    def noted(self: Any, *arguments: Any, **options: Any) -> None:
        through_pipes.append("collate_fn" in options)
        real(self, *arguments, **options)

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("unable to allocate shared memory(shm)")

    monkeypatch.setattr(DataLoader, "__init__", noted)
    if told:
        for name in ("_new_shared", "_share_fd_cpu_"):
            monkeypatch.setattr(torch.UntypedStorage, name, refuse)
    with caplog.at_level(logging.WARNING):
        found = [*batches(targets, 2)]
    assert through_pipes == [bool(told)]
    assert sum("--shm-size" in line and "--workers 0" in line for line in caplog.messages) == told
    for (sound, labels, _, _), (wanted_sound, wanted_labels, _, _) in zip(found, wanted, strict=True):
        assert sound.is_shared() == (not told)
        torch.testing.assert_close(sound, wanted_sound, rtol=0, atol=0)
        torch.testing.assert_close(labels, wanted_labels, rtol=0, atol=0)


@pytest.mark.usefixtures("_untold")
def test_without_semaphores_the_main_process_reads(
    targets: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(multiprocessing.synchronize.SemLock, "__init__", refuse)
    assert len(batches(targets, 2)) == 3
    assert "the main process reads (--workers 0)" in caplog.text


@pytest.mark.usefixtures("_untold")
def test_without_room_for_semaphores_the_main_process_reads(
    targets: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """In 64 kB there is room for those of one loader, but not of the one that validates."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(2**16, 0, 2**16))
    monkeypatch.setattr(loading, "SHARED_MEMORY", targets)
    assert len(batches(targets, 2)) == 3
    assert caplog.text.count("the main process reads (--workers 0)") == 1
