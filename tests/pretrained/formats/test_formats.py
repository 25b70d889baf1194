"""Students in every published layout become the same network."""

from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from soundnet_kd import load_student
from soundnet_kd.models import Preprocessing
from soundnet_kd.pretrained.conversion import convert
from soundnet_kd.pretrained.formats.torch7 import read_torch7
from soundnet_kd.pretrained.students import import_student
from tests.pretrained.layouts import LAYOUTS, Write, write_torch7
from tests.pretrained.soundnet import hear, soundnet
from tests.pretrained.torch7_files import Torch7Writer

SOUND = torch.randn(1, 1, 220_500, generator=torch.Generator().manual_seed(1)) * 50


@lru_cache
def _expected(depth: int) -> dict[str, Tensor]:
    return hear(soundnet(depth), depth, SOUND)


@pytest.mark.parametrize(("write", "file", "layout"), LAYOUTS)
@pytest.mark.parametrize("depth", [5, 8])
def test_every_layout_answers_as_the_published_network(
    cache: Path, tmp_path: Path, write: Write, file: str, layout: str, depth: int
) -> None:
    """Against 2-D convolutions written out in tests/pretrained/soundnet.py; 10 s, which conv8 needs."""
    write(tmp_path / file, soundnet(depth), depth)
    import_student(tmp_path / file, "mine")
    (tmp_path / file).unlink()
    student = load_student("mine")
    assert type(student).__name__ == f"SoundNet{depth}"
    assert not student.training
    assert student.preprocessing == Preprocessing()
    assert student.class_names["objects"] == ("objects 0", "objects 1", "objects 2")
    with torch.inference_mode():
        found = student(SOUND)
    for head, logits in _expected(depth).items():
        torch.testing.assert_close(found[head], logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("write", "file", "layout"), LAYOUTS)
def test_layouts_are_told_apart_by_their_content(tmp_path: Path, write: Write, file: str, layout: str) -> None:
    write(tmp_path / file, soundnet(5), 5)
    if not file.endswith(".safetensors"):
        (tmp_path / file).rename(tmp_path / "file")
        file = "file"
    assert convert(tmp_path / file).layout == layout


def test_known_numbers_of_classes_get_their_names(tmp_path: Path) -> None:
    write_torch7(tmp_path / "sound.t7", soundnet(5, 1000, 401), 5)
    names = convert(tmp_path / "sound.t7").network.class_names
    assert (names["objects"][0], names["scenes"][-1]) == ("tench", "zen_garden")


def test_torch7_values_are_read_as_they_are() -> None:
    writer = Torch7Writer("Double")
    storage = writer.storage(np.arange(6.0))
    tensor = writer.tensor((2, 2), 2, storage)
    shared = writer.value({"x": 1})
    again = shared[:8]
    found = read_torch7(
        writer.value({1: tensor, 2.5: "text", "yes": True, "no": False, "nil": None, "a": shared, "b": again})
    )
    assert np.array_equal(found.pop(1), [[2.0, 3.0], [4.0, 5.0]])
    assert found["a"] is found["b"]
    assert found == {2.5: "text", "yes": True, "no": False, "nil": None, "a": {"x": 1.0}, "b": {"x": 1.0}}
