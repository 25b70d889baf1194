"""What a command imports: no more than it needs, since most of a short run is its start."""

import inspect
import re
import subprocess
import sys
from dataclasses import is_dataclass
from pathlib import Path

import numpy as np
import pytest

from soundnet_kd.cli.table import COMMANDS
from soundnet_kd.config.values import members_of, takes_mapping
from soundnet_kd.media import write_audio
from soundnet_kd.models import SoundNet5, write_network

NEEDLESS = frozenset(
    {
        "librosa",
        "lightning",
        "matplotlib",
        "numba",
        "pandas",
        "PIL",
        "requests",
        "scipy",
        "sklearn",
        "sympy",
        "torch._dynamo",
        "torch._inductor",
        "torchvision",
        "umap",
    }
)
"""What hearing a few sounds does without; PyTorch imports its compiler, and SymPy with it, where it first needs it."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student, and two sounds."""
    made = tmp_path_factory.mktemp("start")
    write_network(SoundNet5({"objects": 2}).eval(), made / "student.safetensors", {})
    for number in range(2):
        noise = np.random.default_rng(number).normal(0, 0.1, 22_050).astype(np.float32)
        write_audio(made / "sounds" / f"{number}.wav", noise, 22_050)
    return made


def imported(script: str, folder: Path) -> set[str]:
    """Give the names of all modules that a process has imported when its script is done."""
    script = f"{script}; import sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "words", ["predict sounds/0.wav --student student.safetensors", "extract sounds --student . --out f.h5"]
)
def test_to_hear_sounds_takes_torch_and_little_else(folder: Path, words: str) -> None:
    modules = imported(f"from soundnet_kd.cli import main; assert main({words.split()!r}) == 0", folder)
    assert "torch" in modules
    assert modules & NEEDLESS == set()


@pytest.mark.parametrize(
    ("command", "needless"),
    [
        ("compare", {"av", "scipy", "sklearn", "torch"}),
        ("neurons", {"av", "scipy", "sklearn", "torch"}),
        ("project", {"av", "scipy", "sklearn", "torch", "umap"}),
        ("evaluate", {"av", "sklearn", "torch"}),
        ("report", {"jinja2", "sklearn", "torch"}),
        ("explore", {"sklearn", "torch"}),
        ("peel", {"lightning", "sklearn", "torchvision", "torch._dynamo"}),
        ("weights", {"lightning", "requests", "sklearn", "torchvision", "torch._dynamo"}),
    ],
)
def test_a_command_is_imported_without_what_it_may_not_need(command: str, needless: set[str], tmp_path: Path) -> None:
    assert imported(f"import soundnet_kd.commands.{command}", tmp_path) & needless == set()


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_described_from_its_source_as_python_does(name: str) -> None:
    command = COMMANDS[name]
    signature, docstring = command.describe()
    function = command.function()
    assert docstring == inspect.getdoc(function)
    assert _told(signature) == _told(inspect.signature(function, eval_str=True))


def _told(signature: inspect.Signature) -> list[tuple[object, ...]]:
    """Give what a parser takes from parameters; of dataclasses what their fields are, and what is said of them."""
    rows: list[tuple[object, ...]] = []
    for each in signature.parameters.values():
        kind = re.sub(r"[\w.]+\.(?=\w)", "", inspect.formatannotation(each.annotation))
        rows.append((each.name, kind, repr(each.default)))
        for settings in members_of(each.annotation) if takes_mapping(each.annotation) else ():
            if is_dataclass(settings):
                rows += [(inspect.getdoc(settings),), *_told(inspect.signature(settings, eval_str=True))]  # type: ignore[arg-type]
    return rows


def test_help_and_a_wrong_line_import_nothing_heavy(tmp_path: Path) -> None:
    # What a recipe can hold is told by the classes that it becomes.
    names = [name for name in COMMANDS if name != "train"]
    script = (
        "import sys; from soundnet_kd.cli import main; "
        f"told = [main([*name.split(), '--help']) for name in {names!r}]; "
        f"refused = [main([*name.split(), '--no_such_flag', '1']) for name in {names!r}]; "
        "print({*told}, {*refused}, {'torch', 'numpy', 'av', 'h5py'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "{0} {1} set()"
    assert done.stderr.count("has no option 'no_such_flag'") == len(names)
