"""Maps, written and read again; and files of version 0.1.0, which named no kind."""

import json
from pathlib import Path
from typing import Any

import pytest

from soundnet_kd.analysis.maps.file import LayerMap, read_map_points, read_maps, write_map_points, write_maps
from soundnet_kd.analysis.maps.quality import HeldOut, MapQuality
from soundnet_kd.errors import FormatError

QUALITY = MapQuality(15, 40, 0.9, 0.8, 0.7, 0.1, -0.2)


def change(folder: Path, **changes: Any) -> None:
    file = folder / "maps.json"
    content = json.loads(file.read_text(encoding="utf-8")) | changes
    kept = {name: value for name, value in content.items() if value is not None}
    file.write_text(json.dumps(kept), encoding="utf-8")


@pytest.mark.parametrize("held_out", [None, HeldOut(5, 0.4, 0.2)])
def test_maps_read_back(held_out: HeldOut | None, tmp_path: Path) -> None:
    supervised = held_out is not None
    maps = [
        LayerMap("conv1", supervised, QUALITY, held_out),
        LayerMap("pool5", supervised, QUALITY, held_out, "left out: 1 clip to which no neuron answers"),
    ]
    left_out = {"pool5": maps[1].left_out, "conv8": "left out: all"}
    write_maps(tmp_path, maps, left_out, {"supervised": supervised})
    assert read_maps(tmp_path) == maps
    # Of version 0.1.0 they are the same; before it no clips were left out.
    change(tmp_path, kind=None)
    assert read_maps(tmp_path) == maps
    change(tmp_path, left_out=None)
    assert [each.left_out for each in read_maps(tmp_path)] == ["", ""]


@pytest.mark.parametrize(
    "changes", [{"kind": "roads"}, {"source": None}, {"maps": [{"layer": "conv1"}]}, {"maps": 3}, {"source": {}}]
)
def test_what_is_no_map_is_refused(changes: dict[str, Any], tmp_path: Path) -> None:
    write_maps(tmp_path, [LayerMap("conv1", False, QUALITY, None)], {}, {"supervised": False})
    change(tmp_path, **changes)
    with pytest.raises(FormatError, match="`soundnet-kd project`"):
        read_maps(tmp_path)


def test_points_read_back_as_far_as_they_are_written(tmp_path: Path) -> None:
    write_map_points(tmp_path, "pool5", ["a, b", "c"], ["dog", ""], [(1.00004, -2.5), (0.0, 12.25)])
    assert read_map_points(tmp_path, "pool5") == {"a, b": (1.0, -2.5), "c": (0.0, 12.25)}
    with pytest.raises(FormatError, match=r"map_conv1\.csv is no table of a map .*draw it again"):
        read_map_points(tmp_path, "conv1")
    (tmp_path / "map_conv1.csv").write_text("id,label,x,y\na,dog,far,away\n", encoding="utf-8")
    with pytest.raises(FormatError, match=r"map_conv1\.csv is no table of a map .*draw it again"):
        read_map_points(tmp_path, "conv1")
