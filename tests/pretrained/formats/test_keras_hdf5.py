"""Files of Keras become the networks that they were published as, or are refused with one line."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from soundnet_kd import load_network, load_student
from soundnet_kd.errors import FormatError, RunConflictError, SettingsError, SoundNetKDError
from soundnet_kd.models.classifiers import SoundClassifier
from soundnet_kd.models.front_ends import FrontEndChain
from soundnet_kd.pretrained.conversion import convert
from soundnet_kd.pretrained.students import import_student, imported_names
from tests.pretrained.keras_files import (
    Model,
    cats_dogs,
    described,
    light_cnn,
    nsynth_better,
    nsynth_simple,
    write_keras,
)

NETWORKS = {"CatsDogs": cats_dogs, "NSynthSimple": nsynth_simple, "NSynthBetter": nsynth_better, "LightCNN": light_cnn}


def answers(network: SoundClassifier, sounds: torch.Tensor) -> tuple[torch.Tensor, np.ndarray[Any, Any]]:
    """Return the probabilities of sounds, and what Keras would be given of them: channels last, time first."""
    front = dict(network.named_children()).get("front_end")
    with torch.no_grad():
        heard = front(sounds) if isinstance(front, FrontEndChain) else sounds
        found = network.probabilities(network.logits(sounds))
    return found, np.moveaxis(heard.numpy(), 1, -1).swapaxes(1, -2)


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_answers_as_in_keras(name: str, whole: bool, cache: Path, tmp_path: Path) -> None:
    model = NETWORKS[name]()
    import_student(write_keras(tmp_path / "model.h5", model, whole=whole), "mine")
    (tmp_path / "model.h5").unlink()
    network = load_network("mine")
    assert isinstance(network, SoundClassifier)
    assert (network.architecture, network.training) == (name, False)
    scale = network.preprocessing.amplitude * 0.1
    samples = network.preprocessing.least_samples
    sounds = torch.randn(2, 1, samples, generator=torch.Generator().manual_seed(1)) * scale
    found, given = answers(network, sounds)
    np.testing.assert_allclose(found.numpy(), model(given), atol=2e-6)


def test_a_graph_and_names_in_the_order_of_text(tmp_path: Path) -> None:
    """conv1d_10 … conv1d_18 and conv1d_9 have the same shapes: only the order tells which is which."""
    model = cats_dogs(3, "softmax")
    texts = sorted(layer.name for layer in model.layers)
    sounds = torch.randn(2, 1, 16_000, generator=torch.Generator().manual_seed(1))
    for chain in ("Sequential", "Model", "Functional"):
        file = write_keras(tmp_path / "model.h5", model, chain=chain, names=texts)
        network = convert(file).network
        assert isinstance(network, SoundClassifier)
        found, given = answers(network, sounds)
        np.testing.assert_allclose(found.numpy(), model(given), atol=2e-6)


def test_long_lists_of_names_are_divided(tmp_path: Path) -> None:
    """As Keras does where they do not fit into an attribute's 64 kB."""
    file = write_keras(tmp_path / "model.h5", cats_dogs())
    with h5py.File(file, "r+") as content:
        attributes = content["model_weights"].attrs
        names = attributes["layer_names"]
        del attributes["layer_names"]
        attributes["layer_names0"], attributes["layer_names1"] = names[:20], names[20:]
    assert convert(file).network.architecture == "CatsDogs"


def test_texts_of_any_length_as_newer_kerases_write_them(tmp_path: Path) -> None:
    file = write_keras(tmp_path / "model.h5", cats_dogs())
    with h5py.File(file, "r+") as content:
        attributes = content["model_weights"].attrs
        attributes["layer_names"] = attributes["layer_names"].tolist()
        assert attributes.get_id("layer_names").dtype == object
    assert convert(file).network.architecture == "CatsDogs"


@pytest.mark.parametrize(
    ("model", "names", "exclusive"),
    [
        (lambda: cats_dogs(), ("dog",), False),
        (lambda: cats_dogs(2, "softmax"), ("cat", "dog"), True),
        (lambda: cats_dogs(3, "softmax"), ("0", "1", "2"), True),
        (lambda: cats_dogs(3, "sigmoid"), ("0", "1", "2"), False),
    ],
)
def test_classes(model: Callable[[], Model], names: tuple[str, ...], exclusive: bool, tmp_path: Path) -> None:
    network = convert(write_keras(tmp_path / "model.h5", model())).network
    assert (network.class_names["classes"], network.exclusive) == (names, exclusive)


def test_given_class_names(cache: Path, tmp_path: Path) -> None:
    file = write_keras(tmp_path / "model.h5", cats_dogs(3, "softmax"))
    import_student(file, "mine", ["cat", "dog", "owl"])
    import_student(file, "mine")
    assert load_network("mine").class_names["classes"] == ("cat", "dog", "owl")
    with pytest.raises(RunConflictError, match="mine is another network already"):
        import_student(file, "mine", ["cat", "owl", "dog"])
    with pytest.raises(SettingsError, match="the file has 3 outputs, but --classes names 2 classes"):
        import_student(file, "other", ["cat", "cat", "dog"])
    with pytest.raises(FormatError, match="is no student, but a CatsDogs that recognises 3 classes"):
        load_student("mine")


def test_names_are_only_for_keras(tmp_path: Path) -> None:
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "sound8.pth")
    with pytest.raises(SettingsError, match=r"sound8\.pth is no file of Keras; --classes"):
        convert(tmp_path / "sound8.pth", class_names=["a"])


Change = Callable[[h5py.File], object]
LayerConfig = list[dict[str, Any]]
Make = Callable[[h5py.Group, str, Any], object]
BIAS = "conv1d_12/bias:0"


def config(change: Callable[[LayerConfig], object]) -> Change:
    """Change the layers that a file describes."""

    def changed(file: h5py.File) -> None:
        model = json.loads(file.attrs["model_config"])
        change(model["config"])
        file.attrs["model_config"] = json.dumps(model)

    return changed


def setting(layer: int, **values: Any) -> Change:
    return config(lambda layers: layers[layer]["config"].update(values))


def description(value: Any) -> Change:
    return lambda file: file.attrs.__setitem__("model_config", value)


def attribute(name: str, value: Any) -> Change:
    return lambda file: file["model_weights"].attrs.__setitem__(name, value)


def instead(make: Make, name: str = BIAS) -> Change:
    """Put something else in the place of an array, which `make` is told."""

    def changed(file: h5py.File) -> None:
        group = file[f"model_weights/{name.partition('/')[0]}/{name.rpartition('/')[0]}"]
        last = name.rpartition("/")[2]
        value = group[last][()]
        del group[last]
        make(group, last, value)

    return changed


def values(change: Callable[[Any], Any], name: str = BIAS) -> Change:
    return instead(lambda group, last, value: group.create_dataset(last, data=change(value)), name)


def link(target: Any) -> Change:
    return instead(lambda group, last, value: group.__setitem__(last, target))


def huge(group: h5py.Group, name: str, value: Any) -> None:
    """Declare petabytes, of which nothing is stored."""
    group.create_dataset(name, shape=(10, 1 << 47), dtype="<f4")


def outside(group: h5py.Group, name: str, value: Any) -> None:
    group.create_dataset(name, shape=value.shape, dtype="<f4", external=[("/etc/passwd", 0, value.nbytes)])


def packed(group: h5py.Group, name: str, value: Any) -> None:
    group.create_dataset(name, data=np.zeros((10, 1 << 20), np.float32), compression="gzip")


def elsewhere(group: h5py.Group, name: str, value: Any) -> None:
    layout = h5py.VirtualLayout(shape=value.shape, dtype="<f4")
    layout[...] = h5py.VirtualSource("other.h5", "data", shape=value.shape)
    group.create_virtual_dataset(name, layout)


REFUSED: list[tuple[Change, str]] = [
    (config(lambda layers: layers[2].update(class_name="Lambda")), r"has a Lambda layer \('activation_9'\), which is"),
    (config(lambda layers: layers[2].update(class_name="TFOpLambda")), "a layer of the kind TFOpLambda, where"),
    (setting(3, strides=[1]), "conv1d_10 is a convolution of 4 at stride 1, padding same, where CatsDogs has"),
    (setting(3, padding="causal"), "padding causal, where CatsDogs has"),
    (setting(3, dilation_rate=[2]), r"conv1d_10 is dilation_rate \[2\], where CatsDogs has batch norm"),
    (setting(3, data_format="channels_first"), "conv1d_10 is data_format channels_first"),
    (setting(1, epsilon=1e-5), "batch norm with epsilon 1e-05, where CatsDogs has batch norm with epsilon 0.001"),
    (setting(2, activation="tanh"), "activation_9 is tanh, where CatsDogs has relu"),
    (setting(2, activation="a\n\x1b[31m"), r"activation_9 is a \?\[31m, where CatsDogs has relu"),
    (setting(1, epsilon="0.001"), "does not describe batchnormalization_9 as Keras does"),
    (config(lambda layers: layers[0]["config"].pop("strides")), "does not describe conv1d_9 as Keras does"),
    (config(lambda layers: layers.pop(2)), "describes other layers than it has weights of"),
    (config(lambda layers: layers.append(layers[0])), "describes two layers of one name"),
    (description("[" * 100_000), "does not describe its model"),
    (description("{}"), "does not describe its model"),
    (description(7), "no text for model_config"),
    (description("x" * (1 << 23)), "no text for model_config"),
    (attribute("backend", b"theano"), "convolutions are mirrored"),
    (attribute("layer_names", [b"conv1d_9"] * 2), "lists 2 layers"),
    (attribute("layer_names", [b"%d" % number for number in range(2000)]), "no text for layer_names, or too much"),
    (attribute("layer_names", [b"conv1d_9", b"../.."]), "describes other layers"),
    (attribute("layer_names", 7), "no list of names"),
    (lambda file: file["model_weights"].attrs.pop("layer_names"), "holds no model of Keras"),
    (lambda file: file.move("model_weights", "weights"), "holds no model of Keras"),
    (values(lambda value: value[:9]), r"bias of conv1d_12 as \(9,\); CatsDogs has \(10,\)"),
    (values(lambda value: value * np.nan), "not finite numbers"),
    (values(lambda value: value.astype(np.float64) * 1e300), "not finite numbers"),
    (values(lambda value: -value, "batchnormalization_12/moving_variance:0"), "negative variance"),
    (values(lambda value: value.astype(np.int64)), "as int64, not as floating-point numbers"),
    (instead(lambda group, name, value: group.create_group(name)), "has no array 'bias:0'"),
    (instead(lambda group, name, value: None), "has no array 'bias:0'"),
    (instead(huge), "of which it does not hold as much"),
    (instead(packed), "packed, or outside of itself"),
    (instead(outside), "packed, or outside of itself"),
    (instead(elsewhere), "packed, or outside of itself"),
    (link(h5py.SoftLink("/model_weights")), "has a link to another place for 'bias:0'"),
    (link(h5py.SoftLink("bias:0")), "has a link to another place for 'bias:0'"),
    (link(h5py.ExternalLink("/tmp/other.h5", "x")), "has a link to another place for 'bias:0'"),
]


@pytest.mark.parametrize(("change", "reason"), REFUSED)
def test_refused(change: Change, reason: str, cache: Path, tmp_path: Path) -> None:
    file = write_keras(tmp_path / "model.h5", cats_dogs())
    with h5py.File(file, "r+") as content:
        change(content)
    with np.errstate(over="ignore"), pytest.raises(SoundNetKDError, match=rf"^{file} .*{reason}"):
        import_student(file, "mine")
    assert not imported_names()


def test_branches_and_loops_are_refused(tmp_path: Path) -> None:
    file = write_keras(tmp_path / "model.h5", cats_dogs(), chain="Model")
    for given, reason in (("conv1d_9", "dense_9 and batchnormalization_9"), ("dense_9", "where it goes on")):
        model = described(cats_dogs(), "Model")
        model["config"]["layers"][0]["inbound_nodes"] = [[[given, 0, 0, {}]]]
        with h5py.File(file, "r+") as content:
            content.attrs["model_config"] = json.dumps(model)
        with pytest.raises(FormatError, match=rf"describes a model that is no chain of layers \({reason}\)"):
            convert(file)


def test_a_lambda_among_weights_alone(tmp_path: Path) -> None:
    model = cats_dogs()
    model.layers[2].name = "lambda_1"
    with pytest.raises(FormatError, match=r"has a Lambda layer \('lambda_1'\)"):
        convert(write_keras(tmp_path / "model.h5", model, whole=False))


def test_cut_off_at_any_place(tmp_path: Path) -> None:
    content = write_keras(tmp_path / "model.h5", cats_dogs()).read_bytes()
    for size in range(8, len(content), len(content) // 20):
        (tmp_path / "cut.h5").write_bytes(content[:size])
        with pytest.raises(FormatError, match=r"^.*cut\.h5 is broken, or cut off"):
            convert(tmp_path / "cut.h5")


def test_other_networks(tmp_path: Path) -> None:
    other = Model((16_000, 1)).convolution(1, 10, 4).add("GlobalAveragePooling1D", {}).dense(10, 1)
    with pytest.raises(FormatError, match=r"holds 2 layers with weights, such as conv1d_9 \(4, 1, 10\), dense_9"):
        convert(write_keras(tmp_path / "model.h5", other))
    without = Model((16_000, 1)).add("Flatten", {})
    with pytest.raises(FormatError, match="ends in no dense layer"):
        convert(write_keras(tmp_path / "model.h5", without))
    longer = nsynth_simple()
    longer.shape = [16_000, 1]
    with pytest.raises(FormatError, match=r"hears inputs of \[16000, 1\], but NSynthSimple of \[8000, 1\]"):
        convert(write_keras(tmp_path / "model.h5", longer))


def test_what_keras_3_writes_by_itself(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "model.weights.h5", "w") as file:
        file.create_group("layers/conv1d/vars")["0"] = np.zeros((4, 1, 10), np.float32)
    with pytest.raises(FormatError, match=r"as Keras 3 keeps them.* save it with `model\.save\('model\.h5'\)`"):
        convert(tmp_path / "model.weights.h5")
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(FormatError, match=r"is an archive of Keras 3; open it with Keras, and save"):
        convert(tmp_path / "model.keras")


MEANS = {
    "cat_163": 0.08304465, "cat_164": 0.17856416, "cat_165": 0.717202, "cat_166": 0.775021, "cat_167": 0.74440736,
    "dog_barking_0": 0.85598546, "dog_barking_1": 0.8410643, "dog_barking_2": 0.8459885, "dog_barking_3": 0.7171979,
    "dog_barking_4": 0.87010723,
}  # fmt: skip
"""Keras's own answers (3.15, on PyTorch) with the published weights: of each clip's whole seconds, on average."""


@pytest.mark.real
def test_the_published_network_of_the_cats_and_dogs(real_data: Path) -> None:
    network = convert(real_data / "cats_dogs" / "model8.h5").network
    assert (network.architecture, network.class_names["classes"]) == ("CatsDogs", ("dog",))
    assert sum(parameter.numel() for parameter in network.parameters()) == 3951
    found = {}
    for name in MEANS:
        sound = network.preprocessing(network.preprocessing.read(real_data / "cats_dogs" / f"{name}.ogg"))
        seconds = sound[:, : sound.shape[1] // 16_000 * 16_000].reshape(-1, 1, 16_000)
        with torch.no_grad():
            found[name] = float(network.logits(seconds).sigmoid().mean())
    assert found == pytest.approx(MEANS, abs=1e-4)
