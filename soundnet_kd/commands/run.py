"""The command `run`: the steps of a recipe, each a command with its settings."""

from pathlib import Path
from typing import Any

from soundnet_kd.cli.steps import RecipeResult, run_steps
from soundnet_kd.config.recipes import read_recipe, split_override


def run(recipe: Path | str, out: Path | str | None = None, overrides: list[str] | None = None) -> RecipeResult:
    """Run the steps of a recipe, one after the other.

    All steps are checked before the first one starts. Stopped and started again, every step goes on where it was.

    Parameters
    ----------
    recipe : str or Path
        A recipe's YAML file; a name alone (quickstart) is one of those that come with this package.
    out : str or Path, optional
        Folder to write to, in place of the recipe's own.
    overrides : list of str, optional
        Values for the recipe's variables, each as name=value; texts and paths stay what was typed, null is none.
    """
    values: dict[str, Any] = {} if out is None else {"out": str(Path(out))}
    return run_steps(read_recipe(recipe), values | dict(map(split_override, overrides or ())))
