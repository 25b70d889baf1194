"""Where a map puts the page's clips, and how far it can be trusted."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.analysis.maps.layout import shorten_empty_strips
from soundnet_kd.errors import FormatError
from soundnet_kd.report.clips import Clips
from soundnet_kd.report.scripts import levels, packed
from soundnet_kd.storage import read_json
from soundnet_kd.system.machine_errors import translate_machine_errors

MAPS_FILE = "maps.json"


def maps_in(folder: str | Path) -> list[dict[str, Any]]:
    """Read what `soundnet-kd project` says of each map: `layer`, `supervised`, `left_out`, and its quality."""
    folder = Path(folder)
    content = read_json(folder / MAPS_FILE)
    supervised = bool(content["source"]["supervised"])
    # Maps of earlier versions have no clips left out.
    left_out = content.get("left_out", {})
    return [{**each, "supervised": supervised, "left_out": left_out.get(each["layer"], "")} for each in content["maps"]]


def positions_data(folder: str | Path, layer: str, clips: Clips) -> dict[str, Any]:
    """Return the place of every clip in a map.

    Returns
    -------
    dict
        `x` and `y` (clips,), packed: 16 bit from the map's left to its right and from its bottom to its top, both in
        the unit of the longer side; `missing`, rows of the clips that the map lacks; `shortened`, whether wide strips
        without a clip are.

    Raises
    ------
    FormatError
        If the table is not that of a map.
    """
    folder = Path(folder)
    file = folder / f"map_{layer}.csv"
    rows = clips.row_of
    points: NDArray[np.float64] = np.full((len(clips.ids), 2), np.nan)
    try:
        with translate_machine_errors(file), file.open(newline="", encoding="utf-8") as handle:
            for row in csv.DictReader(handle):
                if row["id"] in rows:
                    points[rows[row["id"]]] = float(row["x"]), float(row["y"])
    except (KeyError, OSError, TypeError, ValueError) as error:
        raise FormatError(f"{file} is no table of a map ({error}); draw it again with `soundnet-kd project`") from error
    missing = np.flatnonzero(np.isnan(points[:, 0]))
    if len(missing) == len(points):
        raise FormatError(f"{file} places none of the clips; draw it again with `soundnet-kd project`")
    known = shorten_empty_strips(points[~np.isnan(points[:, 0])])
    low = known.points.min(axis=0)
    placed = np.zeros_like(points)
    placed[~np.isnan(points[:, 0])] = (known.points - low) / max(float(np.ptp(known.points, axis=0).max()), 1e-9)
    return {
        "x": packed(levels(placed[:, 0])),
        "y": packed(levels(placed[:, 1])),
        "missing": missing.tolist(),
        "shortened": any(map(len, known.breaks)),
    }
