"""The networks from scratch that were published in Keras, built of a file of theirs: its shapes tell which one it is.

`CatsDogs`, `NSynthSimple`, `NSynthBetter` and `LightCNN`; the others were published in other libraries. Where a file
describes its model, what that computes is compared too, step by step.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from soundnet_kd.errors import FormatError, SettingsError, one_line
from soundnet_kd.models.classifiers.registry import CLASSIFIERS
from soundnet_kd.models.classifiers.sound_classifier import FRONT_END, SoundClassifier
from soundnet_kd.models.device import Undrawn
from soundnet_kd.models.layers import SameConv1d
from soundnet_kd.pretrained.formats.keras_hdf5 import INPUT, KerasLayer, read_keras, refused

KERAS_NETWORKS = ("CatsDogs", "NSynthSimple", "NSynthBetter", "LightCNN")
FAMILIES = ("bass", "brass", "flute", "guitar", "keyboard", "mallet", "organ", "reed", "string", "vocal")
USUAL_CLASSES: Mapping[tuple[str, int], tuple[str, ...]] = {
    ("CatsDogs", 1): ("dog",),
    ("CatsDogs", 2): ("cat", "dog"),
    ("NSynthSimple", 10): FAMILIES,
    ("NSynthBetter", 10): FAMILIES,
}
"""Classes by the network and their number: of what was published, which Keras does not keep."""
MAX_CLASSES = 10_000

_CONVOLUTIONS, _NORMS, _POOLS = (nn.Conv1d, nn.Conv2d), (nn.BatchNorm1d, nn.BatchNorm2d), (nn.MaxPool1d, nn.MaxPool2d)
_LEARNING = (*_CONVOLUTIONS, *_NORMS, nn.Linear)
_NORM_WEIGHTS = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
_OTHER_WEIGHTS = {"kernel": "weight", "bias": "bias"}
"""Keras's names, and PyTorch's."""
_ANSWERS = ("sigmoid", "softmax")
_ONLY_IN_TRAINING = (INPUT, "Dropout", "SpatialDropout1D", "SpatialDropout2D")

Step = tuple[str, str]
"""Name of a layer, and what it computes in words that are the same for Keras's and for ours."""

log = logging.getLogger(__name__)


def build_from_keras(path: str | Path, class_names: Sequence[str] | None = None) -> SoundClassifier:
    """Build the network whose weights a file of Keras holds, in evaluation mode; the values are not checked.

    Parameters
    ----------
    path : str or Path
        HDF5, as `read_keras` reads it.
    class_names : sequence of str, optional
        One for each output. [default: those of the published network where their number is its, else numbers]

    Raises
    ------
    FormatError
        If the file cannot be read, has other shapes than the networks have, or computes something else.
    SettingsError
        If there are more or fewer names than outputs.
    """
    path = Path(path)
    layers = read_keras(path)
    try:
        return _build(layers, class_names)
    except FormatError as error:
        raise refused(path, error) from error


def _build(layers: Sequence[KerasLayer], class_names: Sequence[str] | None) -> SoundClassifier:
    learned = [layer for layer in layers if layer.weights]
    bias = learned[-1].weights.get("bias") if learned else None
    if bias is None or bias.ndim != 1 or len(bias) > MAX_CLASSES:
        raise FormatError(f"ends in no dense layer of 1 to {MAX_CLASSES} outputs; those that are read do: {_known()}")
    name = _network_of(learned, len(bias))
    network = CLASSIFIERS[name](_names(name, len(bias), class_names))  # type: ignore[call-arg]
    inputs = _inputs(network)
    steps = list(_steps(layers))
    answer = steps.pop()[1] if steps and steps[-1][1] in _ANSWERS else None
    if steps:
        _require_same(name, layers, steps, network, inputs)
    else:
        log.warning("the file holds weights alone; it is assumed to compute what %s does", name)
    state: dict[str, Tensor] = {}
    flattened: tuple[int, ...] = ()
    following = iter(learned)
    for key, module in network.named_modules():
        if isinstance(module, nn.Flatten):
            flattened = inputs[key]
        elif isinstance(module, _LEARNING):
            weights = next(following).weights
            for theirs, ours in _weights_of(module).items():
                state[f"{key}.{ours}"] = torch.from_numpy(_turned(weights[theirs], flattened))
            flattened = ()
    # All but what a front end or a counter of batches keeps.
    network.load_state_dict({**network.state_dict(), **state})
    network.exclusive = answer == "softmax" if answer else len(bias) > 1
    return network.eval()


def _turned(array: NDArray[Any], flattened: tuple[int, ...]) -> NDArray[np.float32]:
    """Turn weights from (…, in, out) to (out, in, …).

    Keras has channels last and time before frequency, so all dimensions are reversed; those that a dense layer finds
    `flattened` too, which are (channels, rows, steps) or (channels, steps) here.
    """
    if not flattened or array.ndim != 2:
        return np.ascontiguousarray(array.T, np.float32)
    outputs = array.shape[1]
    return np.ascontiguousarray(array.reshape(*reversed(flattened), outputs).T, np.float32).reshape(outputs, -1)


def _network_of(learned: Sequence[KerasLayer], classes: int) -> str:
    """Return the name of the network that has these shapes; an error names where the nearest one has others."""
    found = [{role: array.shape for role, array in layer.weights.items()} for layer in learned]
    nearest: tuple[str, list[dict[str, tuple[int, ...]]]] | None = None
    for name in KERAS_NETWORKS:
        with torch.device("meta"), Undrawn():
            expected = _shapes(CLASSIFIERS[name](["any"] * classes))  # type: ignore[call-arg]
        if found == expected:
            return name
        if [each.keys() for each in found] == [each.keys() for each in expected]:
            nearest = name, expected
    if nearest is None:
        first = ", ".join(f"{layer.name[:30]} {next(iter(layer.weights.values())).shape}" for layer in learned[:3])
        raise FormatError(
            f"holds {len(learned)} layers with weights, such as {first}; no network that is read from Keras does: "
            f"{_known()}"
        )
    name, expected = nearest
    place, role = next(
        (place, role) for place, has in enumerate(expected) for role in has if has[role] != found[place][role]
    )
    raise FormatError(
        f"has the {role} of {learned[place].name[:60]} as {found[place][role]}; {name} has {expected[place][role]}"
    )


def _shapes(network: SoundClassifier) -> list[dict[str, tuple[int, ...]]]:
    """Return the shapes of all weights as Keras has them, by their names there."""
    return [
        {theirs: tuple(reversed(getattr(module, ours).shape)) for theirs, ours in _weights_of(module).items()}
        for module in network.modules()
        if isinstance(module, _LEARNING)
    ]


def _weights_of(module: nn.Module) -> Mapping[str, str]:
    return _NORM_WEIGHTS if isinstance(module, _NORMS) else _OTHER_WEIGHTS


def _names(network: str, classes: int, class_names: Sequence[str] | None) -> list[str]:
    if class_names is not None:
        if len(class_names) != classes or len(set(class_names)) < classes:
            outputs = f"{classes} outputs" if classes > 1 else "a single output"
            raise SettingsError(
                f"the file has {outputs}, but --classes names {len(set(class_names))} classes; give one for each "
                "output (for two classes, a single output is for the second)"
            )
        return list(class_names)
    if usual := USUAL_CLASSES.get((network, classes)):
        log.info("Keras keeps no class names; those of the published network are assumed: %s", ", ".join(usual))
        return list(usual)
    log.warning("Keras keeps no class names; classes are numbered; name them with --classes")
    return [str(number) for number in range(classes)]


def _inputs(network: SoundClassifier) -> dict[str, tuple[int, ...]]:
    """Return the shape of what each module is given of one sound of the least length."""
    found: dict[str, tuple[int, ...]] = {}

    def remember(name: str, module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        found[name] = tuple(arguments[0].shape[1:])

    hooks = [module.register_forward_pre_hook(partial(remember, name)) for name, module in network.named_modules()]
    with torch.no_grad():
        network.eval().logits(torch.zeros(1, 1, network.preprocessing.least_samples))
    for hook in hooks:
        hook.remove()
    return found


def _require_same(
    name: str,
    layers: Sequence[KerasLayer],
    steps: Sequence[Step],
    network: SoundClassifier,
    inputs: Mapping[str, tuple[int, ...]],
) -> None:
    """Check that a model computes what a network does, and from an input of the same shape, where it has to be."""
    for (layer, found), (_, expected) in zip_longest(steps, _own_steps(network), fillvalue=("the end", "nothing more")):
        if found != expected:
            raise FormatError(
                f"has the shapes of {name}, but computes something else: {layer[:60]} is {found[:80]}, where {name} "
                f"has {expected}"
            )
    first = next(layer for layer in network.layers if layer != FRONT_END)
    expected_shape = tuple(reversed(inputs[first]))
    given = layers[0].settings.get("batch_input_shape", layers[0].settings.get("batch_shape"))
    if not network.preprocessing.exact or not isinstance(given, list):
        return
    if len(given) != 1 + len(expected_shape) or any(
        size not in (None, wanted) for size, wanted in zip(given[1:], expected_shape, strict=True)
    ):
        raise FormatError(f"hears inputs of {str(given[1:])[:60]}, but {name} of {list(expected_shape)}")


def _steps(layers: Sequence[KerasLayer]) -> Iterator[Step]:
    """Say what each layer of a described model computes; nothing of one that is not described."""
    for layer in layers:
        try:
            yield from ((layer.name, told) for told in _told(layer.kind, layer.settings))
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise FormatError(f"does not describe {layer.name[:60]} as Keras does: {one_line(error)}") from error


def _told(kind: str, settings: Mapping[str, Any]) -> Iterator[str]:
    match kind:
        case "Conv1D" | "Conv2D":
            yield _convolution(settings["kernel_size"], settings["strides"], settings["padding"])
            for name, usual in (("data_format", "channels_last"), ("groups", 1), ("dilation_rate", 1)):
                value = settings.get(name, usual)
                if set(value if isinstance(value, list) else [value]) != {usual}:
                    yield f"{name} {value}"
        case "BatchNormalization":
            yield _norm(settings["epsilon"])
        case "Dense":
            yield _dense(settings["units"])
        case "ReLU":
            limits = (settings.get("max_value"), settings.get("negative_slope", 0), settings.get("threshold", 0))
            yield "relu" if limits == (None, 0, 0) else f"relu of {limits}"
        case "LeakyReLU":
            yield _leaky(settings["alpha"] if "alpha" in settings else settings["negative_slope"])
        case "Softmax":
            yield "softmax"
        case "MaxPooling1D" | "MaxPooling2D":
            yield _maximum(settings["pool_size"], settings["strides"] or settings["pool_size"])
            if settings["padding"] != "valid":
                yield f"padding {settings['padding']}"
        case "GlobalAveragePooling1D":
            yield "mean over time"
        case "Flatten":
            yield "flatten"
        case _ if kind and kind not in (*_ONLY_IN_TRAINING, "Activation"):
            yield f"a layer of the kind {kind}"
    if (activation := settings.get("activation", "linear")) != "linear":
        yield str(activation)


def _own_steps(network: SoundClassifier) -> Iterator[Step]:
    """Say what each module computes, in the same words."""
    averaged = False
    for name, module in network.named_modules():
        told = None
        match module:
            case SameConv1d():
                told = _convolution(module.kernel_size, module.stride, "same")
            case nn.Conv1d() | nn.Conv2d():
                told = _convolution(module.kernel_size, module.stride, "valid")
            case nn.BatchNorm1d() | nn.BatchNorm2d():
                told = _norm(module.eps)
            case nn.ReLU():
                told = "relu"
            case nn.LeakyReLU():
                told = _leaky(module.negative_slope)
            case nn.MaxPool1d() | nn.MaxPool2d():
                told = _maximum(module.kernel_size, module.stride)
            case nn.AdaptiveAvgPool1d():
                told = "mean over time"
            case nn.Flatten() if not averaged:
                told = "flatten"
            case nn.Linear():
                told = _dense(module.out_features)
        if told is not None:
            averaged = isinstance(module, nn.AdaptiveAvgPool1d)
            yield name, told


def _convolution(kernel: Any, stride: Any, padding: str) -> str:
    return f"a convolution of {_size(kernel)} at stride {_size(stride)}, padding {padding}"


def _norm(epsilon: float) -> str:
    return f"batch norm with epsilon {epsilon:.4g}"


def _leaky(slope: float) -> str:
    return f"leaky relu with slope {slope:.4g}"


def _maximum(size: Any, stride: Any) -> str:
    return f"the maximum of {_size(size)} at stride {_size(stride)}"


def _dense(units: int) -> str:
    return f"a dense layer of {units}"


def _size(size: Any) -> str:
    """Return a size that is the same in all dimensions as one number; Keras's time comes first, ours last."""
    sizes = list(size) if isinstance(size, list | tuple) else [size]
    return str(sizes[0]) if len(set(sizes)) == 1 else " x ".join(map(str, sizes))


def _known() -> str:
    return ", ".join(KERAS_NETWORKS)
