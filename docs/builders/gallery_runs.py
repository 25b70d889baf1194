"""What the gallery's scripts work on: the run of a quickstart, and a clean folder for each."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ORDER = (
    "hear_your_sounds.py",
    "distil_from_videos.py",
    "layers_into_pandas.py",
    "esc50_protocols.py",
    "neurons_to_hear.py",
    "finetune_a_classifier.py",
    "export_to_onnx.py",
    "many_machines.py",
)
RUNS = Path(__file__).parents[1] / "gallery" / "runs"
QUICKSTART = RUNS / "quickstart"


def in_order(script: str) -> int:
    """Return the place of a script in the gallery."""
    return ORDER.index(Path(script).name)


def clear(gallery: dict[str, Any], script: str) -> None:
    """Remove what the script before has written; be called before each script."""
    for path in RUNS.iterdir():
        if path.is_dir() and path != QUICKSTART:
            shutil.rmtree(path)
        elif path != QUICKSTART:
            path.unlink()


def hide_progress() -> None:
    """Draw no progress bars, of which each state would stand on the page."""
    begin = tqdm.__init__

    def begin_hidden(bar: tqdm, *arguments: Any, **settings: Any) -> None:
        begin(bar, *arguments, **{**settings, "disable": True})

    tqdm.__init__ = begin_hidden


def setup(app: "Sphinx") -> None:
    """Run the quickstart, unless it was run before, or its folder was put in its place."""
    hide_progress()
    if not QUICKSTART.exists():
        from soundnet_kd.commands.quickstart import quickstart

        QUICKSTART.unlink(missing_ok=True)
        quickstart(QUICKSTART)
