"""A wrong or hostile file is refused with one line, and leaves nothing."""

import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from soundnet_kd import SoundNet5
from soundnet_kd.errors import FormatError, SoundNetKDError
from soundnet_kd.pretrained.conversion import convert
from soundnet_kd.pretrained.description import describe
from soundnet_kd.pretrained.students import import_student
from tests.pretrained import spoiling, spoiling_torch7
from tests.pretrained.layouts import LAYOUTS, Write, write_numpy, write_torch7
from tests.pretrained.numpy_files import python2_npy
from tests.pretrained.soundnet import soundnet
from tests.pretrained.torch7_files import Torch7Writer

REFUSED: list[tuple[Callable[[Path], None], str]] = [
    (spoiling.hostile_pytorch, "not a file of tensors alone .*system"),
    (spoiling.hostile_numpy, r"wants to call (posix|nt)\.system, .* never executed"),
    (spoiling.pickled(b"cbuiltins\neval\n(S'1'\ntR"), r"wants to call builtins\.eval"),
    (spoiling.pickled(b"\x82\x01"), "has a code that no pickled array has"),
    (spoiling.pickled(b"Pname\n"), "has a code that no pickled array has"),
    (spoiling.pickled(b"}))", b"2\x86" * 100, b"Ns"), "has a code that no pickled array has"),
    (spoiling.pickled(b"})q\x00" + b"h\x00\x86q\x00h\x00" * 100 + b"Ns"), "has a tuple for a name"),
    (spoiling.pickled(b"N", pickle.LONG_BINPUT, struct.pack("<I", 0xFFFFFFF0)), "holds no dict of layers"),
    (spoiling.pickled(b"c_codecs\nencode\n(N}S'__doc__'\nS'x'\nstb"), "is broken, or cut off"),
    (spoiling.pickled(b"cnumpy\nndarray\n(I0\nt\x81"), "has a code that no pickled array has"),
    (spoiling.pickled(b"cnumpy\nndarray\n(I0\ntR"), "is not whole"),
    (spoiling_torch7.lua_function, "holds a Lua function, which is never read"),
    (spoiling_torch7.nested, "nests its values more than 100 deep"),
    (spoiling_torch7.stretched, "reaches beyond its storage"),
    (spoiling_torch7.storage_beyond_the_file, "ends too early"),
    (spoiling_torch7.other_class, r"an object of the class 'os\.Process'"),
    (spoiling_torch7.text_form, "is Torch7's text form"),
    (
        spoiling.changed("conv2.weight", lambda tensor: tensor[:, :, 1:]),
        r"conv2\.weight as \(64, 32, 31\); SoundNet5 has \(64, 32, 32\)",
    ),
    (
        spoiling.changed("conv2.weight", lambda tensor: tensor[:, :, 1:], write_numpy),
        r"conv2\.weight as \(64, 32, 31\)",
    ),
    (
        spoiling.changed("conv2.weight", lambda tensor: tensor[:, :, 1:], write_torch7),
        r"conv2\.weight as \(64, 32, 31\)",
    ),
    (
        spoiling.changed("conv2.weight", lambda tensor: tensor.repeat(1, 1, 1, 2)),
        r"\(64, 32, 32, 2\); the last size should be 1",
    ),
    (spoiling.changed("conv3.bias", lambda tensor: tensor * float("nan")), "not finite numbers"),
    (spoiling.changed("conv3.bias", lambda tensor: tensor / 0, write_torch7), "not finite numbers"),
    (spoiling.changed("conv3.bias", lambda tensor: tensor * float("nan"), write_numpy), "not finite numbers"),
    (spoiling.changed("conv3.bias", lambda tensor: tensor.double() * 1e300), "not finite numbers"),
    (spoiling.changed("conv3.bias", lambda tensor: tensor.long()), "as torch.int64, not as floating-point numbers"),
    (spoiling.changed("conv3.bias", lambda tensor: tensor.to_sparse()), "no plain tensor"),
    (spoiling.changed("batchnorm2.running_var", lambda tensor: -tensor), "negative variance"),
    (spoiling.without("batchnorm2.running_var"), r"lacks batchnorm2\.running_var, which SoundNet5 has"),
    (spoiling.without("conv5_objs.bias"), r"lacks conv5\.objects\.bias"),
    (
        spoiling.changed("conv2.weight", lambda tensor: tensor[:1].clone().expand(64, -1, -1, -1)),
        "claims to be larger than",
    ),
    (lambda path: torch.save({"conv1.weight": spoiling.Beyond()}, path), "not a file of tensors alone"),
    (spoiling.many_classes, "claims to be larger than what is stored"),
    (spoiling.described(class_names='{"objects": 1000000000000}'), "no lists of class names"),
    (spoiling.described(class_names="[]"), "does not describe its network"),
    (spoiling.described(class_names='{"objects": ["\\ud800"]}'), "does not describe its network"),
    (spoiling.described(class_names='{"objects": ["cat", "dog"]}'), "the weights do not fit SoundNet5"),
    (spoiling.described(training="[]"), "does not say how it was trained"),
    (spoiling.described(training='{"name": "\\ud800"}'), "does not describe its network"),
    (spoiling.described(training="[" * 100_000), "does not describe its network"),
    (spoiling.described(preprocessing='{"rate": 1}'), "does not describe its network"),
    (spoiling.described(architecture="SoundNet6"), "no student of format 1"),
    (spoiling.half_a_student, "is not readable as safetensors"),
    (spoiling.larger_than_any_student, "has 536870913 bytes, more than any student"),
    (spoiling.safetensors({}, length=1 << 40), "is not readable as safetensors"),
    (spoiling.safetensors({"x": {"dtype": "F32", "shape": [4], "data_offsets": [0, 1 << 42]}}), "is not readable"),
    (spoiling.safetensors({"x": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 16]}}), "is not readable"),
    (spoiling.safetensors({"x": {"dtype": "F32", "shape": [1 << 63, 2], "data_offsets": [0, 16]}}), "is not readable"),
    (spoiling.safetensors({"x": {"dtype": "F32", "shape": [3], "data_offsets": [0, 16]}}), "is not readable"),
    (spoiling.named_head("keys"), "has impossible outputs"),
    (lambda path: torch.save(soundnet(5, objects=0), path), "an output of 0 objects"),
    (lambda path: torch.save({"conv5.objects.weight": torch.ones(())}, path), "no network of SoundNet"),
    (lambda path: torch.save({"fc.weight": torch.zeros(1)}, path), "no network of SoundNet with 8 or 5 layers"),
    (lambda path: torch.save([1], path), "holds no state dict"),
    (lambda path: np.save(path.open("wb"), np.zeros(3)), "holds an array of float64"),
    (
        spoiling.member_named("../../soundnet8.t7"),
        r"the path '\.\./\.\./soundnet8\.t7', which leads out of the archive",
    ),
    (spoiling.member_named("/tmp/soundnet8.t7"), "the path '/tmp/soundnet8.t7', which leads out of the archive"),
    (spoiling.member_named("a\\..\\..\\soundnet8.t7"), "which leads out of the archive"),
    (spoiling.member_named("C:\\soundnet8.t7"), "which leads out of the archive"),
    (spoiling.bomb, "unpacks from .* to 30000000 bytes; no network does"),
    (spoiling.bomb_for_torch, "unpacks from .* to 20000000 bytes; no network does"),
    (spoiling_torch7.many_convolutions, "has more than 16 convolutions; no network of SoundNet has"),
    (
        spoiling.numpy_layers(lambda layers: layers | {f"conv{n}": {} for n in range(6, 17)}),
        "has 17 layers; no",
    ),
    (spoiling.numpy_layers(lambda layers: {n: layers[n] for n in layers if n != "conv3"}), r"lacks conv3\.weight"),
    (spoiling.numpy_layers(lambda layers: layers | {"dense1": {}}), "has the unknown layer 'dense1'"),
    (spoiling_torch7.circle, "has 0 convolutions and 0 batch norms"),
    (spoiling.two_networks, r"holds 2 files \*\.t7 where one should be"),
    (spoiling.nothing, "ends too early"),
    (spoiling.web_page, "it is a web page"),
]

TOLD = describe(SoundNet5({"objects": ["cat", "dog", "owl"], "scenes": ["sea", "wood"]}))
MORE_NAMES = json.dumps({"objects": ["cat"] * 100_000, "scenes": ["sea", "wood"]})
TOO_MUCH: list[tuple[Any, str]] = [
    (["SoundNet5"], "does not describe its network in texts"),
    (TOLD | {"class_names": {"objects": 10**12}}, "does not describe its network in texts"),
    (TOLD | {"format_version": "2"}, r"holds no student of format 1 \(format '2'"),
    (TOLD | {"architecture": "os.system"}, r"holds no student of format 1 .*architecture 'os\.system'"),
    (TOLD | {"architecture": "a\nb" * 1000}, "holds no student of format 1"),
    (TOLD | {"class_names": '{"a\\nb": ["cat"]}'}, "no lists of class names"),
    (
        TOLD | {"class_names": json.dumps({"a" * number: ["cat"] for number in range(1, 1000)})},
        "1 a, 1 aa, 1 aaa, 1 aaaa$",
    ),
    (TOLD | {"architecture": "SoundNet8"}, "holds SoundNet5 with 3 objects, 2 scenes, but describes SoundNet8"),
    (TOLD | {"class_names": MORE_NAMES}, "3 objects, 2 scenes, but describes SoundNet5 with 100000 objects, 2 scenes"),
    (TOLD | {"class_names": '{"objects": ["cat", "dog", "owl"]}'}, "but describes SoundNet5 with 3 objects"),
    (TOLD | {"class_names": '{"objects": 1000000000000, "scenes": 2}'}, "no lists of class names"),
    (TOLD | {"class_names": '{"objects": [1, 2, 3], "scenes": [1, 2]}'}, "no lists of class names"),
    (TOLD | {"class_names": "[" * 100_000}, "does not describe its network: maximum recursion"),
    (TOLD | {"class_names": '{"objects": ["\\ud800", "", ""], "scenes": ["", ""]}'}, "does not describe its network"),
    (TOLD | {"preprocessing": '{"amplitude": NaN}'}, "amplitude is nan; it has to be a number above 0"),
    (TOLD | {"preprocessing": '{"least_samples": 1e12}'}, "least_samples is 1000000000000.0"),
    (TOLD | {"preprocessing": '{"rate": 1}'}, "does not describe its network"),
    ({"architecture": "SoundNet5", "format_version": "1"}, "does not describe its network: 'class_names'"),
]
REFUSED += [(spoiling.checkpoint_described(told), reason) for told, reason in TOO_MUCH]


@pytest.mark.parametrize(("write", "reason"), REFUSED)
def test_a_wrong_or_hostile_file_is_refused_and_leaves_nothing(
    cache: Path, tmp_path: Path, write: Callable[[Path], None], reason: str
) -> None:
    path = tmp_path / "file"
    write(path)
    with pytest.raises(FormatError, match=reason) as caught:
        import_student(path, "mine")
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    assert set(tmp_path.iterdir()) == {path}


@pytest.mark.parametrize(("write", "file", "layout"), LAYOUTS)
def test_a_file_that_is_cut_off_anywhere_is_refused(
    cache: Path, tmp_path: Path, write: Write, file: str, layout: str
) -> None:
    path = tmp_path / file
    write(path, soundnet(5), 5)
    content = path.read_bytes()
    for length in (5, 40, 300, len(content) // 2, len(content) - 9):
        path.write_bytes(content[:length])
        with pytest.raises(FormatError) as caught:
            import_student(path, "mine")
        assert "\n" not in str(caught.value)
    assert set(tmp_path.iterdir()) == {path}


def test_a_broken_file_never_fails_in_another_way(tmp_path: Path) -> None:
    """Bytes changed at random places of two small files, neither of which is a whole network."""
    random = np.random.default_rng(0)
    writer = Torch7Writer()
    network = writer.modules("nn.Sequential", writer.module("nn.ReLU", inplace=True))
    layers = python2_npy({"conv1": {"weights": np.ones((4, 1, 1, 2), np.float32), "biases": np.ones(2, np.float32)}})
    for content in (network, layers):
        for _ in range(300):
            changed = bytearray(content)
            for place in random.integers(0, len(content), 3):
                changed[place] = random.integers(256)
            (tmp_path / "file").write_bytes(changed)
            with pytest.raises(SoundNetKDError):
                convert(tmp_path / "file")
