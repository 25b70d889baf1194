"""The files of maps: `maps.json`, with the quality of each map, and a table of places for each.

Layout of `maps.json`
---------------------
`format_version`, `kind` (maps; version 0.1.0 wrote none), `source` (the features, the settings and the versions that
made the maps), `note`, `left_out` (by layer, if clips are left out), and `maps`, one for each layer: `layer`, the
attributes of `MapQuality`, and `held_out`. The places are in `map_LAYER.csv`: `id`, `label`, `x` and `y`.
"""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from soundnet_kd.analysis.maps.quality import HeldOut, MapQuality, trust_caption
from soundnet_kd.errors import FormatError
from soundnet_kd.storage import read_json, write_csv, write_json
from soundnet_kd.system.machine_errors import translate_machine_errors

FORMAT_VERSION = 1
KIND = "maps"
MAPS_FILE, SETTINGS_FILE = "maps.json", "project.json"

_SUPERVISED_NOTE = (
    "the maps were drawn knowing the labels, so knn_accuracy_map and silhouette_map tell nothing about the features; "
    "held_out is of clips that a map was drawn without"
)
_NOTE = (
    "knn_accuracy_features and silhouette_features are what the layer can do; the map can flatter it or fall short of "
    "it"
)


@dataclass(frozen=True)
class LayerMap:
    """A layer's map: how it was made, its quality, and what is left out of it.

    Attributes
    ----------
    layer : str
    supervised : bool
        Whether the map was made with the labels.
    quality : MapQuality
    held_out : HeldOut or None
        For a supervised map.
    left_out : str
        How many clips it lacks, and why; empty if it lacks none.
    """

    layer: str
    supervised: bool
    quality: MapQuality
    held_out: HeldOut | None
    left_out: str = ""

    @property
    def caption(self) -> str:
        """How far the map can be trusted, in a few lines."""
        return trust_caption(self.quality, self.held_out, self.left_out)


def write_maps(
    folder: str | Path, maps: Iterable[LayerMap], left_out: Mapping[str, str], source: Mapping[str, Any]
) -> None:
    """Write `maps.json`.

    Parameters
    ----------
    folder : str or Path
    maps : iterable of LayerMap
    left_out : mapping from layer to str
        Also for layers without a map.
    source : mapping
        Inputs, settings and versions of the maps, including `supervised`.
    """
    write_json(
        Path(folder) / MAPS_FILE,
        {
            "format_version": FORMAT_VERSION,
            "kind": KIND,
            "source": source,
            "note": _SUPERVISED_NOTE if source["supervised"] else _NOTE,
            "left_out": left_out,
            "maps": [
                {"layer": each.layer, **asdict(each.quality), "held_out": each.held_out and asdict(each.held_out)}
                for each in maps
            ],
        },
    )


def read_maps(folder: str | Path) -> list[LayerMap]:
    """Read the `maps.json` that `soundnet-kd project` wrote to a folder.

    Raises
    ------
    FormatError
        If its `maps.json` is not what that command writes.
    """
    file = Path(folder) / MAPS_FILE
    content = read_json(file)
    try:
        if content.get("kind", KIND) != KIND:
            raise FormatError(f"{file} is of {content['kind']}, not what `soundnet-kd project` writes")
        supervised = bool(content["source"]["supervised"])
        # Maps from before version 0.1.0 have no clips left out.
        left_out = content.get("left_out", {})
        maps = []
        for each in content["maps"]:
            quality = dict(each)
            layer, held_out = quality.pop("layer"), quality.pop("held_out")
            maps.append(
                LayerMap(
                    layer=layer,
                    supervised=supervised,
                    quality=MapQuality(**quality),
                    held_out=HeldOut(**held_out) if held_out else None,
                    left_out=left_out.get(layer, ""),
                )
            )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise FormatError(f"{file} is not what `soundnet-kd project` writes ({error}); draw the maps again") from error
    return maps


def write_map_points(
    folder: str | Path, layer: str, ids: Sequence[str], labels: Sequence[str], points: Iterable[tuple[float, float]]
) -> None:
    """Write the table of places of a layer's map.

    Parameters
    ----------
    folder : str or Path
    layer : str
    ids, labels : sequence of str
        Identifiers and classes of the clips; an empty class where there is none.
    points : (clips, 2) float
    """
    write_csv(
        _points_file(folder, layer),
        ("id", "label", "x", "y"),
        ((clip, label, f"{x:.4f}", f"{y:.4f}") for clip, label, (x, y) in zip(ids, labels, points, strict=True)),
    )


def read_map_points(folder: str | Path, layer: str) -> dict[str, tuple[float, float]]:
    """Read the place of each clip in a layer's map, by its id.

    Raises
    ------
    FormatError
        If there is no such table.
    """
    file = _points_file(folder, layer)
    try:
        with translate_machine_errors(file), file.open(newline="", encoding="utf-8") as handle:
            return {row["id"]: (float(row["x"]), float(row["y"])) for row in csv.DictReader(handle)}
    except (KeyError, OSError, TypeError, ValueError, csv.Error) as error:
        raise FormatError(f"{file} is no table of a map ({error}); draw it again with `soundnet-kd project`") from error


def _points_file(folder: str | Path, layer: str) -> Path:
    return Path(folder) / f"map_{layer}.csv"
