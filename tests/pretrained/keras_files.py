"""Models as Keras 2 keeps them in HDF5, and what they compute, in numpy: channels last, time before frequency."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass
class Layer:
    kind: str
    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, Array] = field(default_factory=dict)


class Model:
    """Layers one after the other, called as Keras calls them: conv1d_9, conv1d_10, which sort otherwise as text."""

    def __init__(self, shape: Sequence[int], seed: int = 0) -> None:
        self.shape = list(shape)
        self.layers: list[Layer] = []
        self.rng = np.random.default_rng(seed)

    def add(self, kind: str, settings: dict[str, Any], weights: dict[str, Array] | None = None) -> "Model":
        number = 9 + sum(layer.kind == kind for layer in self.layers)
        self.layers.append(Layer(kind, f"{kind.lower()}_{number}", settings, weights or {}))
        return self

    def convolution(
        self,
        inputs: int,
        outputs: int,
        *kernel: int,
        stride: int = 1,
        padding: str = "valid",
        activation: str = "linear",
    ) -> "Model":
        settings = {"filters": outputs, "kernel_size": list(kernel), "strides": [stride] * len(kernel),
                    "padding": padding, "data_format": "channels_last", "dilation_rate": [1] * len(kernel),
                    "activation": activation, "use_bias": True}  # fmt: skip
        return self.add(f"Conv{len(kernel)}D", settings, self.drawn((*kernel, inputs, outputs)))

    def dense(self, inputs: int, outputs: int, activation: str = "linear") -> "Model":
        settings = {"units": outputs, "activation": activation, "use_bias": True}
        return self.add("Dense", settings, self.drawn((inputs, outputs)))

    def norm(self, channels: int) -> "Model":
        weights = {
            "gamma": self.rng.normal(1, 0.1, channels),
            "beta": self.rng.normal(0, 0.1, channels),
            "moving_mean": self.rng.normal(0, 0.1, channels),
            "moving_variance": self.rng.uniform(0.5, 1.5, channels),
        }
        settings = {"axis": -1, "momentum": 0.99, "epsilon": 0.001, "center": True, "scale": True}
        return self.add("BatchNormalization", settings, {name: _float32(value) for name, value in weights.items()})

    def drawn(self, shape: tuple[int, ...]) -> dict[str, Array]:
        scale = np.prod(shape[:-1]) ** -0.5
        return {
            "kernel": _float32(self.rng.normal(0, scale, shape)),
            "bias": _float32(self.rng.normal(0, 0.1, shape[-1])),
        }

    def __call__(self, sounds: Array) -> Array:
        """Return the answers (sounds, classes), float64."""
        hidden = sounds.astype(np.float64)
        for layer in self.layers:
            hidden = _computed(layer, hidden)
            hidden = _activated(str(layer.settings.get("activation", "linear")), hidden)
        return hidden


def cats_dogs(classes: int = 1, activation: str = "sigmoid") -> Model:
    model = Model((16_000, 1))
    for number in range(10):
        model.convolution(10 if number else 1, 10, 4, stride=2, padding="same").norm(10)
        model.add("Activation", {"activation": "relu"})
    return model.add("GlobalAveragePooling1D", {}).dense(10, classes, activation)


def nsynth_simple() -> Model:
    model = Model((8000, 1)).convolution(1, 64, 2).convolution(64, 64, 2, activation="relu")
    return model.add("GlobalAveragePooling1D", {}).dense(64, 10, "softmax")


def nsynth_better() -> Model:
    model = Model((8000, 1)).convolution(1, 64, 2).convolution(64, 32, 2).convolution(32, 92, 2)
    model.add("LeakyReLU", {"alpha": 0.30000001192092896})
    model.add("MaxPooling1D", {"pool_size": [2], "strides": [2], "padding": "valid"})
    return model.add("Dropout", {"rate": 0.5}).add("Flatten", {}).dense(367_816, 24).dense(24, 10, "softmax")


def light_cnn() -> Model:
    model = Model((99, 81, 1)).norm(1)
    for inputs, outputs, kernel, pools in ((1, 8, 2, 0), (8, 8, 2, 1), (8, 16, 3, 0), (16, 16, 3, 1), (16, 32, 3, 1)):
        model.convolution(inputs, outputs, kernel, kernel, activation="relu")
        if pools:
            model.add("MaxPooling2D", {"pool_size": [2, 2], "strides": None, "padding": "valid"})
            model.add("Dropout", {"rate": 0.2})
    model.add("Flatten", {})
    size = model(np.zeros((1, 99, 81, 1))).shape[1]
    return model.dense(size, 128, "relu").norm(128).dense(128, 128, "relu").norm(128).dense(128, 12, "softmax")


def write_keras(
    path: Path, model: Model, *, whole: bool = True, chain: str = "Sequential", names: Sequence[str] = ()
) -> Path:
    """Write a model as `model.save` does, or its weights as `save_weights` does, with the names in any order."""
    with h5py.File(path, "w") as file:
        if whole:
            file.attrs["model_config"] = json.dumps(described(model, chain))
        group = file.create_group("model_weights") if whole else file
        group.attrs["backend"] = b"tensorflow"
        group.attrs["layer_names"] = _texts(names or [layer.name for layer in model.layers])
        for layer in model.layers:
            own = group.create_group(layer.name)
            own.attrs["weight_names"] = _texts([f"{layer.name}/{role}:0" for role in layer.weights])
            for role, value in layer.weights.items():
                own[f"{layer.name}/{role}:0"] = value
    return path


def described(model: Model, chain: str) -> dict[str, Any]:
    """Return `model_config`: of a plain list of layers, or of a graph that names what each layer is given."""
    layers: list[dict[str, Any]] = [
        {"class_name": each.kind, "config": {"name": each.name, **each.settings}} for each in model.layers
    ]
    shape = [None, *model.shape]
    if chain == "Sequential":
        layers[0]["config"]["batch_input_shape"] = shape
        return {"class_name": "Sequential", "config": layers}
    for place, layer in enumerate(layers):
        layer["inbound_nodes"] = [[[model.layers[place - 1].name, 0, 0, {}]]] if place else []
    # A graph may list its layers in any order.
    return {"class_name": chain, "config": {"name": "model_1", "layers": layers[::-1]}}


def _texts(names: Sequence[str]) -> Array:
    """Return texts of one length, as Keras 2 keeps lists of them; of none, an empty array of numbers."""
    return np.array([name.encode() for name in names])


def _computed(layer: Layer, hidden: Array) -> Array:
    weights, settings = layer.weights, layer.settings
    match layer.kind:
        case "Conv1D" | "Conv2D":
            kernel, stride = weights["kernel"], settings["strides"][0]
            if settings["padding"] == "same":
                # TensorFlow's rule: ceil(steps / stride) steps, and of the zeros that takes the odd one behind.
                steps = hidden.shape[1]
                zeros = max(0, (-(-steps // stride) - 1) * stride + len(kernel) - steps)
                hidden = np.pad(hidden, ((0, 0), (zeros // 2, zeros - zeros // 2), (0, 0)))
            over = tuple(range(1, hidden.ndim - 1))
            windows = sliding_window_view(hidden, kernel.shape[:-2], over)[:, ::stride]
            # The last dimensions of the windows are the channels, then those of the kernel.
            flat = kernel.transpose(-2, *range(kernel.ndim - 2), -1).reshape(-1, kernel.shape[-1])
            return windows.reshape(*windows.shape[: hidden.ndim - 1], -1) @ flat + weights["bias"]
        case "BatchNormalization":
            scaled = (hidden - weights["moving_mean"]) / np.sqrt(weights["moving_variance"] + settings["epsilon"])
            return np.asarray(scaled * weights["gamma"] + weights["beta"])
        case "LeakyReLU":
            return np.where(hidden < 0, hidden * settings["alpha"], hidden)
        case "MaxPooling1D" | "MaxPooling2D":
            places = tuple(range(1, hidden.ndim - 1))
            windows = sliding_window_view(hidden, [2] * len(places), places)
            windows = windows[:, ::2, ::2] if len(places) == 2 else windows[:, ::2]
            return np.asarray(windows.max(axis=tuple(range(-len(places), 0))))
        case "GlobalAveragePooling1D":
            return np.asarray(hidden.mean(axis=1))
        case "Flatten":
            return hidden.reshape(len(hidden), -1)
        case "Dense":
            return np.asarray(hidden @ weights["kernel"] + weights["bias"])
    return hidden


def _activated(activation: str, hidden: Array) -> Array:
    match activation:
        case "relu":
            return np.maximum(hidden, 0)
        case "sigmoid":
            return np.asarray(1 / (1 + np.exp(-hidden)))
        case "softmax":
            exponentials = np.exp(hidden - hidden.max(axis=1, keepdims=True))
            return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))
    return hidden


def _float32(values: Array) -> NDArray[np.float32]:
    return np.asarray(values, np.float32)
