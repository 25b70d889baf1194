"""An evaluation as `evaluate` left it on the disk, for whoever sets two of them side by side."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.errors import FormatError, SettingsError
from soundnet_kd.storage import read_json
from soundnet_kd.transfer.results import PREDICTIONS_FILE, RESULTS_FILE


@dataclass(frozen=True, eq=False)
class StoredResults:
    """What an evaluation answered for each clip that it tested.

    Attributes
    ----------
    folder : Path
    protocol : str
        Its name, the classifier, and how the classifier's settings were chosen.
    classes : tuple of str
    layers : tuple of str
        From the input on.
    labels : mapping from the id of a clip to its class
    folds : mapping from the id of a clip to the fold that it was tested in
    groups : mapping from the id of a clip to its source recording, or None where that is not known
    paths : mapping from the id of a clip to where it lies; empty where that is not known
    answers : mapping from layer to a mapping from the id of a clip to the class that it was given
    content : mapping
        Of results.json.
    """

    folder: Path
    protocol: str
    classes: tuple[str, ...]
    layers: tuple[str, ...]
    labels: Mapping[str, str] = field(repr=False)
    folds: Mapping[str, int] = field(repr=False)
    groups: Mapping[str, str] | None = field(repr=False)
    paths: Mapping[str, Path] = field(repr=False)
    answers: Mapping[str, Mapping[str, str]] = field(repr=False)
    content: Mapping[str, Any] = field(repr=False)

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read the folder, or the results.json in it, that `soundnet-kd evaluate` wrote.

        Raises
        ------
        SettingsError
            If there is none.
        FormatError
            If it is not what `evaluate` writes.
        """
        path = Path(path)
        folder = path.parent if path.suffix == ".json" else path
        for name in (RESULTS_FILE, PREDICTIONS_FILE):
            if not (folder / name).is_file():
                raise SettingsError(f"there is no {folder / name}; make it with `soundnet-kd evaluate`")
        content = read_json(folder / RESULTS_FILE)
        with (folder / PREDICTIONS_FILE).open(encoding="utf-8", newline="") as handle:
            rows = [row for row in csv.DictReader(handle) if row.get("label")]
        try:
            results = content["results"]
            layers = tuple(result["layer"] for result in results)
            protocols = (
                f"{each['protocol']}, {each['head']}, settings chosen: {each['selection']}" for each in results
            )
            return cls(
                folder=folder,
                protocol="; ".join(dict.fromkeys(protocols)),
                classes=tuple(content["classes"]),
                layers=layers,
                labels={row["id"]: row["label"] for row in rows},
                folds={row["id"]: int(row["fold"]) for row in rows},
                groups={row["id"]: row["group"] for row in rows} if rows and "group" in rows[0] else None,
                paths={row["id"]: Path(row["path"]) for row in rows} if rows and "path" in rows[0] else {},
                answers={layer: {row["id"]: row[layer] for row in rows} for layer in layers},
                content=content,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"{folder} is not what `soundnet-kd evaluate` writes ({error} is missing)") from error

    @property
    def best_layer(self) -> str:
        """The layer with the most clips right, the one nearest the input where several have as many."""
        ids = tuple(self.labels)
        return max(self.layers, key=lambda layer: int(self.right(layer, ids).sum()))

    def right(self, layer: str, ids: tuple[str, ...]) -> NDArray[np.bool_]:
        """Tell which clips a layer has right.

        Parameters
        ----------
        layer : str
        ids : tuple of str, (clips,)

        Returns
        -------
        (clips,) bool
        """
        answers = self.answers[layer]
        return np.array([answers[clip] == self.labels[clip] for clip in ids], dtype=np.bool_)
