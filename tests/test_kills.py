"""Commands that are killed at the files they write end well when they are started again, as if nothing had been.

Some moments of each; all of them are gone through by `python -m tests.benchmarks.kill_matrix`.
"""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.kill_scenarios import SCENARIOS, changes_of, clear, inputs, kill_and_go_on, left

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs SIGKILL, and reads /proc")

MOMENTS: Mapping[str, tuple[float | str, ...]] = {
    "extract": (0.3, 0.6, 0.99),
    "teach": (0.5, 0.99),
    "distill": (0.5, 0.99),
    "distill features": (0.5, 0.9),
    "finetune": (0.4, 0.96),
    "weights fetch": (0.6,),
    "report": ("rename report/.partial-report.json", "open report/figures/e/.partial-confusion_conv3.svg"),
}
"""Where in the changes that a command makes it is killed, or before which; others in the middle."""
SLOW = ("project", "peel", "demo-world", "demo-teacher")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    base = tmp_path_factory.mktemp("kills")
    with inputs(base):
        yield base


@pytest.mark.parametrize("name", [name for name in SCENARIOS if name not in SLOW])
def test_a_command_that_was_killed_ends_as_if_it_had_not_been(name: str, folder: Path) -> None:
    # Always in the same place, since some results name it.
    scenario, trial = SCENARIOS[name], folder / name
    changes = changes_of(scenario, trial)
    wanted = left(trial)
    assert wanted
    clear(trial)
    for moment in MOMENTS.get(name, (0.5,)):
        number = changes.index(moment) if isinstance(moment, str) else int(moment * len(changes))
        assert kill_and_go_on(scenario, trial, number) == "", changes[number]
        assert left(trial) == wanted, changes[number]
        clear(trial)


def test_an_extraction_of_few_sounds_is_gone_on_with(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of twelve sounds in parts of four, each part is kept; and the cache is the same."""
    from soundnet_kd.commands.extract import extract
    from soundnet_kd.features import cache_writer as writing
    from soundnet_kd.features.extractor import FeatureExtractor

    sounds, student = folder / "inputs" / "sounds", folder / "inputs" / "student.safetensors"
    monkeypatch.setattr(writing, "BATCHES_PER_PART", 2)
    extract(sounds, student, folder / "whole.h5", ["pool5"], batch_size=2, device="cpu")
    heard, hear_batch = [], FeatureExtractor.pooled

    def stop(mine: FeatureExtractor, waveforms: list[object]) -> object:
        heard.append(len(waveforms))
        if sum(heard) > 8:
            raise KeyboardInterrupt
        return hear_batch(mine, waveforms)  # type: ignore[arg-type]

    monkeypatch.setattr(FeatureExtractor, "pooled", stop)
    with pytest.raises(KeyboardInterrupt):
        extract(sounds, student, folder / "stopped.h5", ["pool5"], batch_size=2, device="cpu")
    monkeypatch.setattr(FeatureExtractor, "pooled", hear_batch)
    assert len(list((folder / "stopped.h5.parts").glob("part-*.h5"))) == 2
    extract(sounds, student, folder / "stopped.h5", ["pool5"], batch_size=2, device="cpu")
    assert (folder / "stopped.h5").read_bytes() == (folder / "whole.h5").read_bytes()
