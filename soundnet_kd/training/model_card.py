"""A model card: the README.md beside a network's weights that says what they are, in the form that model hubs read.

Its first lines are YAML between two lines of `---`: `library_name`, `pipeline_tag`, `license`, `tags`, and where the
network was tested `model-index`, by the names of Hugging Face's hub. What is said follows from the weights and the
settings: the same training writes the same card. A README.md that is there already stays, since people complete it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from soundnet_kd.models import Network, Student
from soundnet_kd.models.network import HEAD
from soundnet_kd.storage import versions, write_text

CARD_FILE = "README.md"
LIBRARY = "soundnet-kd"
NOT_STATED = "unknown"
"""How hubs call a licence that nobody has stated."""

Rows = Mapping[str, str]


@dataclass(frozen=True)
class ModelCard:
    """What is said of a network.

    Attributes
    ----------
    title : str
    summary : str
        A few sentences.
    network : Network
    file : str
        Name of its weights.
    settings : mapping from str to str
        How it came about: data, teachers, objective, and what else tells it from others.
    measured : mapping from str to str
        Figures, each with what it is of.
    notes : sequence of str
        Sentences about the figures.
    origins : sequence of str
        What may have a say in the licence.
    results : sequence of mapping
        `model-index`: each a `task`, a `dataset` and its `metrics`.
    """

    title: str
    summary: str
    network: Network
    file: str
    settings: Rows
    measured: Rows
    notes: Sequence[str] = ()
    origins: Sequence[str] = ()
    results: Sequence[Mapping[str, Any]] = ()

    def __str__(self) -> str:
        return "\n\n".join(
            [
                f"---\n{yaml.safe_dump(self._front_matter(), sort_keys=False, allow_unicode=True)}---",
                f"# {self.title}",
                self.summary,
                _table({**_describe(self.network), **self.settings, "made with": _made_with()}),
                "## Measured",
                _table(self.measured) if self.measured else "Nothing was measured.",
                *self.notes,
                "## Use",
                self._use(),
                "## Licence",
                "Not stated yet. Whoever trained this network says here, and in `license` above, how it may be used. "
                f"What it was made from may have a say: {'; '.join(self.origins)}.",
                "## Citation",
                "Y. Aytar, C. Vondrick, A. Torralba: SoundNet: Learning Sound Representations from Unlabeled Video, "
                f"NIPS 2016; and {LIBRARY}, which trained it.",
            ]
        )

    def _front_matter(self) -> dict[str, Any]:
        is_student = isinstance(self.network, Student)
        matter: dict[str, Any] = {
            "library_name": LIBRARY,
            "pipeline_tag": "feature-extraction" if is_student else "audio-classification",
            "license": NOT_STATED,
            "tags": ["audio", "sound", self.network.architecture, *(["knowledge-distillation"] if is_student else [])],
        }
        if self.results:
            matter["model-index"] = [{"name": self.title, "results": [dict(each) for each in self.results]}]
        return matter

    def _use(self) -> str:
        load = "load_student" if isinstance(self.network, Student) else "load_network"
        answers = "soundnet-kd predict sound.wav --student FOLDER\n"
        features = "soundnet-kd extract sounds/ --student FOLDER --out features.h5\n"
        answers *= set(self.network.class_names) > set(self.network.untaught_heads)
        return (
            f"FOLDER is the folder that holds `{self.file}`, here or where a hub's client has put it.\n\n"
            f"```sh\n{answers}{features}```\n\n"
            f'```python\nfrom soundnet_kd import {load}\n\nnetwork = {load}("FOLDER")\n```'
        )


def write_model_card(card: ModelCard, folder: str | Path) -> None:
    """Write a card beside the weights, unless there is a README.md already."""
    path = Path(folder) / CARD_FILE
    if not path.exists():
        write_text(path, f"{card}\n")


def accuracy_result(data: str, accuracy: float, what: str) -> dict[str, Any]:
    """Return an entry of `model-index`.

    Parameters
    ----------
    data : str
        What was classified.
    accuracy : float
        From 0 to 1.
    what : str
        Which accuracy it is, such as the mean over folds.
    """
    return {
        "task": {"type": "audio-classification"},
        "dataset": {"name": data, "type": "audio"},
        "metrics": [{"type": "accuracy", "name": what, "value": round(accuracy, 4)}],
    }


def _describe(network: Network) -> dict[str, str]:
    asked = network.preprocessing
    parameters = sum(each.numel() for each in network.parameters())
    sizes = {head: len(names) for head, names in network.class_names.items()}
    named = {head: f"{size} {head}{' (not taught)' * (head in network.untaught_heads)}" for head, size in sizes.items()}
    heads = str(sizes[HEAD]) if sizes.keys() == {HEAD} else ", ".join(named.values())
    return {
        "network": f"{network.architecture}, {parameters / 1e6:.2f} M parameters",
        "fingerprint": f"`{network.fingerprint()[:16]}`",
        "hears": f"{asked.sample_rate} Hz, {'first channel' if asked.channel == 'first' else 'mean of the channels'}",
        "classes": heads,
    }


def _made_with() -> str:
    return ", ".join(f"{name} {version}" for name, version in versions().items() if name in (LIBRARY, "torch"))


def _table(rows: Rows) -> str:
    lines = (f"| {name} | {value.replace('|', chr(92) + '|')} |" for name, value in rows.items())
    return "\n".join(["| | |", "|---|---|", *lines])
