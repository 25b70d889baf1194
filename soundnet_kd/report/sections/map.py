"""Maps: the places of the page's clips in each, and how far it can be trusted."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.analysis.maps.file import read_map_points, read_maps
from soundnet_kd.analysis.maps.layout import shorten_empty_strips
from soundnet_kd.errors import FormatError
from soundnet_kd.report.clips import Clips
from soundnet_kd.report.figure_files import FigureLink
from soundnet_kd.report.inputs import ReportInputs, preferred_layer
from soundnet_kd.report.page_data import encode_integers, quantize
from soundnet_kd.report.section import Content, Section


def show(inputs: ReportInputs) -> Content | None:
    """Write the places of the clips in every map, and return the maps' names and quality."""
    if inputs.cache is None or inputs.clips is None:
        return None
    folders = inputs.files.select_made_from(inputs.files.maps, inputs.cache.path)
    maps: list[dict[str, str]] = []
    layers: list[str] = []
    figures: list[FigureLink] = []
    for label, folder in folders.items():
        for each in inputs.skipped.read(label, read_maps, folder) or ():
            places = inputs.skipped.read(f"{label}, {each.layer}", places_data, folder, each.layer, inputs.clips)
            if places is not None:
                inputs.data.write(f"map-{len(maps)}", places)
                name = f"{each.layer}{', drawn with the labels' if each.supervised else ''}"
                layers.append(each.layer)
                maps.append({"name": name if len(folders) == 1 else f"{label}: {name}", "note": each.caption})
        figures += inputs.figures.copy(folder, label)
    if not maps:
        return None
    return Content({"figures": figures}, {"maps": maps, "first": layers.index(preferred_layer(layers))})


def places_data(folder: str | Path, layer: str, clips: Clips) -> dict[str, Any]:
    """Place of every clip in a map.

    Returns
    -------
    dict
        `x` and `y` (clips,), encoded in 16 bit: from left to right and from bottom to top, both relative to the longer
        side; `missing`, rows of the clips that are not in the map; `shortened`, whether wide strips without a clip are
        shortened.

    Raises
    ------
    FormatError
        If the file is not the table of a map, or has none of the clips.
    """
    place_of = read_map_points(folder, layer)
    points: NDArray[np.float64] = np.array([place_of.get(clip, (np.nan, np.nan)) for clip in clips.ids])
    missing = np.isnan(points[:, 0])
    if missing.all():
        raise FormatError(
            f"the map of {layer} in {folder} places none of the clips; draw it again with `soundnet-kd project`"
        )
    known = shorten_empty_strips(points[~missing])
    low = known.points.min(axis=0)
    placed = np.zeros_like(points)
    placed[~missing] = (known.points - low) / max(float(np.ptp(known.points, axis=0).max()), 1e-9)
    return {
        "x": encode_integers(quantize(placed[:, 0])),
        "y": encode_integers(quantize(placed[:, 1])),
        "missing": np.flatnonzero(missing).tolist(),
        "shortened": any(map(len, known.breaks)),
    }


MAP = Section("map", "Map", show, "soundnet-kd project FEATURES", "maps")
