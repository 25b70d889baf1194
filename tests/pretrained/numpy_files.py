"""SoundNet's weights as the TensorFlow port has them: a pickled dict of arrays."""

import struct
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray
from torch import Tensor

from tests.pretrained.soundnet import NORM


def as_numpy_dict(state: Mapping[str, Tensor], depth: int) -> dict[str, dict[str, NDArray[Any]]]:
    """Arrange weights as the TensorFlow port does: views of Torch's arrays, heads `conv8` and `conv8_2`."""
    layers = {}
    for number in range(1, depth + 1):
        heads = {"": ""} if number < depth else {"": "_objs", "_2": "_scns"}
        for suffix, ours in heads.items():
            name = f"conv{number}{ours}"
            layer = {
                "weights": state[f"{name}.weight"].numpy().transpose(2, 3, 1, 0),
                "biases": state[f"{name}.bias"].numpy(),
            }
            if number < depth:
                theirs = ("gamma", "beta", "mean", "var")
                layer |= {
                    key: state[f"batchnorm{number}.{name}"].numpy() for key, name in zip(theirs, NORM, strict=True)
                }
            layers[f"conv{number}{suffix}"] = layer
    return layers


def python2_npy(layers: Mapping[str, Mapping[str, NDArray[Any]]]) -> bytes:
    """Write a dict of arrays as `numpy.save` of Python 2 did: texts and arrays' data as strings of bytes."""

    def text(value: bytes) -> bytes:
        return b"T" + struct.pack("<i", len(value)) + value

    def numbers(values: tuple[int, ...]) -> bytes:
        return b"(" + b"".join(b"I%d\n" % value for value in values) + b"t"

    def array(shape: tuple[int, ...], element: bytes, order: bytes, fortran: bool, data: bytes) -> bytes:
        made = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\nt" + text(b"b") + b"tR"
        kind = b"cnumpy\ndtype\n(" + text(element) + b"I0\nI1\ntR(I3\n" + text(order) + b"NNNI-1\nI-1\nI0\ntb"
        return made + b"(I1\n" + numbers(shape) + kind + (b"I01\n" if fortran else b"I00\n") + data + b"tb"

    def mapping(items: Mapping[str, bytes]) -> bytes:
        return b"}(" + b"".join(text(name.encode()) + value for name, value in items.items()) + b"u"

    def tensor(values: NDArray[Any]) -> bytes:
        fortran = values.flags.f_contiguous and not values.flags.c_contiguous
        return array(values.shape, b"f4", b"<", fortran, text(values.tobytes("F" if fortran else "C")))

    content = mapping(
        {name: mapping({key: tensor(each) for key, each in layer.items()}) for name, layer in layers.items()}
    )
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (), }"
    header += b" " * (-(len(header) + 11) % 16) + b"\n"
    return (
        b"\x93NUMPY\x01\x00"
        + struct.pack("<H", len(header))
        + header
        + array((), b"O8", b"|", False, b"]" + content + b"a")
        + b"."
    )
