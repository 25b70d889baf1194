"""The table of commands: each is a typed function in a file of `commands/`; its flags are that function's parameters.

A file is imported only when one of its commands is run. Help, and most of what can be wrong with a command line, are
told from its source, so that they come at once.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from soundnet_kd.cli.sources import describe
from soundnet_kd.errors import SettingsError, nearest


@dataclass(frozen=True)
class Command:
    """A command.

    Attributes
    ----------
    target : str
        Its function, as module:function in `commands/`.
    positional : tuple of str
        Parameters that go without a flag.
    summary : str
        What it does, in a few words.
    epilog_target : str
        A function whose text ends the help, as module:function; none, if empty.
    is_distributed : bool
        Whether several processes that a launcher starts do one piece of work, and only the first one prints the
        result; those of other commands do one each.
    check_target : str
        A function, as module:function, that takes some of the command's parameters and refuses what can be seen to be
        wrong before anything is read; none, if empty.
    """

    target: str
    positional: tuple[str, ...]
    summary: str
    epilog_target: str = ""
    is_distributed: bool = False
    check_target: str = ""

    def function(self) -> Callable[..., object]:
        """Import the function."""
        return _import(f"commands.{self.target}")

    def check(self, arguments: Mapping[str, Any]) -> None:
        """Refuse arguments that can be seen to be wrong before anything is read.

        Raises
        ------
        SettingsError
        """
        if self.check_target:
            function = _import(self.check_target)
            function(**{name: arguments[name] for name in inspect.signature(function).parameters})

    def describe(self) -> tuple[inspect.Signature, str]:
        """Return the function's signature and docstring, without importing it."""
        module, function = self.target.split(":")
        return describe(f"soundnet_kd.commands.{module}", function)

    def epilog(self) -> str:
        """Return the end of its help."""
        return str(_import(self.epilog_target)()) if self.epilog_target else ""


COMMANDS: Mapping[str, Command] = {
    "quickstart": Command("quickstart:quickstart", (), "the whole route on a demonstration world, or on your videos"),
    "teach": Command("teach:teach", ("videos",), "label the frames of videos with image networks"),
    "distill": Command(
        "distill:distill",
        ("targets",),
        "train a student to hear what the teachers saw",
        is_distributed=True,
        check_target="distill.settings:check_settings",
    ),
    "extract": Command("extract:extract", ("sounds",), "keep a network's layers for every sound of a data set"),
    "join": Command("join:join", ("out",), "join what the jobs of teach or extract have written"),
    "predict": Command("predict:predict", ("sounds",), "say what a network takes sounds for"),
    "export": Command("export:export", ("student",), "write a network as a file that other programs run"),
    "evaluate": Command("evaluate:evaluate", ("features",), "cross-validate a classifier on every layer"),
    "finetune": Command("finetune:finetune", ("sounds",), "train a student on labelled sounds, and test it"),
    "train": Command(
        "train:train",
        ("recipe",),
        "train a recipe's networks from scratch on labelled sounds, and test them",
        "supervised.config:explain_keys",
    ),
    "compare": Command("compare:compare", ("results",), "set two evaluations side by side, layer by layer"),
    "rank": Command("rank:rank", ("results",), "set evaluations in a table: parameters, seconds of training, accuracy"),
    "neurons": Command("neurons:neurons", ("features",), "find the classes that each neuron answers to"),
    "project": Command("project:project", ("features",), "draw a UMAP map of every layer"),
    "explore": Command("explore:explore", ("sounds",), "look at a data set of short labelled sounds"),
    "peel": Command("peel:peel", ("sound",), "show what every layer of a network makes of one sound"),
    "report": Command("report:report", ("run",), "make a page of a run, to look at and to listen to"),
    "run": Command("run:run", ("recipe",), "run the steps of a recipe, such as pipelines/quickstart.yaml"),
    "weights list": Command("weights:list_weights", (), "show the published and imported weights"),
    "weights show": Command("weights:show_weights", ("name",), "show what is known of published or imported weights"),
    "weights fetch": Command("weights:fetch_weights", ("name",), "fetch published weights into the cache"),
    "weights verify": Command("weights:verify_weights", ("file",), "say which published weights a file is"),
    "weights import": Command("weights:import_weights", ("file",), "make a file of weights usable by a name"),
    "demo-world": Command("demo_world:demo_world", (), "make the videos, frames and sounds of the demonstration world"),
    "demo-teacher": Command("demo_teacher:demo_teacher", ("frames",), "train a small image network on labelled frames"),
}
"""The table; a name of two words is a command of a group, which the first word names."""


def group(name: str) -> Mapping[str, Command]:
    """Return the commands whose first word, of two, is `name`."""
    return {each: command for each, command in COMMANDS.items() if each.startswith(f"{name} ")}


def find(name: str) -> Command:
    """Return a command.

    Raises
    ------
    SettingsError
        If there is none of this name; the message names the nearest one.
    """
    if name not in COMMANDS:
        first_words = list(dict.fromkeys(each.partition(" ")[0] for each in COMMANDS))
        known = group(name.partition(" ")[0]) or first_words
        raise SettingsError(f"there is no command {name!r}{nearest(name, known)}")
    return COMMANDS[name]


def _import(target: str) -> Callable[..., object]:
    module, name = target.split(":")
    function: Callable[..., object] = getattr(import_module(f"soundnet_kd.{module}"), name)
    return function
