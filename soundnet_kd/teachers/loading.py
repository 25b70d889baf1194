"""Teachers by name: a library's own weights, published ones, and files.

A new source of teachers is a library in `soundnet_kd.pretrained.image_networks`, or entries of the registry of weights
(`pretrained/registry.toml`).
"""

from pathlib import Path

from torch import nn

from soundnet_kd.errors import FormatError, SettingsError, nearest
from soundnet_kd.models.device import Undrawn
from soundnet_kd.pretrained import PretrainedWeights, fetch, teacher_registry
from soundnet_kd.pretrained.formats.state_dict import load_weights
from soundnet_kd.pretrained.image_networks import find_library
from soundnet_kd.pretrained.verification import sha256_of
from soundnet_kd.teachers.teacher import Teacher, read_teacher_description
from soundnet_kd.teachers.transforms import frame_transform


def load_teacher(spec: str, class_names: str | Path | None = None) -> Teacher:
    """Load a torchvision classification network as a teacher.

    Parameters
    ----------
    spec : str
        `NETWORK:WEIGHTS`, where WEIGHTS is a file with the network's state dict (`mobilenet_v2:weights.pth`), a set of
        weights in this package's registry (`resnet18:PLACES365`, fetched once into the user's cache) or a member of
        torchvision's weights enum (`resnet50:IMAGENET1K_V2`, fetched once into torch's cache); or a file alone that
        `write_teacher` wrote and that describes itself. Frames are prepared as the weights ask; for a file of weights
        as for the network's first set of torchvision weights.
    class_names : str or Path, optional
        A text file with a class a line, for a file of weights; without it the network must have ImageNet's 1000.
        Other weights bring their own.

    Raises
    ------
    SettingsError
        If there is no such network, weights or file, or the weights cannot be fetched.
    FormatError
        If the weights do not fit the network, or the class names the weights.
    """
    class_names = None if class_names is None else Path(class_names)
    if Path(spec).is_file():
        return _load_described(Path(spec))
    name, _, weights = spec.partition(":")
    if not weights:
        raise SettingsError(
            f"teacher {spec!r} should be NETWORK:WEIGHTS, such as resnet50:IMAGENET1K_V2, resnet18:PLACES365 or "
            "resnet18:FILE, or an existing file"
        )
    find_library(name)
    if Path(weights).is_file():
        return _load_file(name, Path(weights), class_names)
    if class_names is not None:
        raise SettingsError(f"{spec} brings its own class names; {class_names} is for weights in a file, leave it out")
    entry = teacher_registry().get(spec)
    return _load_from_library(name, weights) if entry is None else _load_published(entry)


def _load_described(path: Path) -> Teacher:
    try:
        about = read_teacher_description(path)
    except FormatError as error:
        raise SettingsError(f"{path} does not say which network it is for; write NETWORK:{path}") from error
    network = network_from_file(about.name, len(about.class_names), path)
    return Teacher(network, frame_transform(about.input_size), about.class_names, _identity(about.name, path))


def _load_file(name: str, path: Path, class_names: Path | None) -> Teacher:
    usual = find_library(name).weights(name)[0]
    if class_names is None:
        names = usual.class_names
    else:
        if not class_names.is_file():
            raise SettingsError(f"there is no file of class names {class_names}")
        names = tuple(line.strip() for line in class_names.read_text(encoding="utf-8").splitlines() if line.strip())
    network = network_from_file(name, len(names), path)
    return Teacher(network, usual.transform, names, _identity(name, path))


def _load_published(entry: PretrainedWeights) -> Teacher:
    path, names, asked = fetch(entry), entry.class_names(), entry.preprocessing
    network = network_from_file(entry.architecture, len(names), path)
    transform = frame_transform(asked.crop, asked.resize, asked.mean, asked.std)
    identity = {"network": entry.architecture, "weights": entry.name.partition(":")[2], "sha256": sha256_of(path)}
    return Teacher(network, transform, names, identity)


def _load_from_library(name: str, wanted: str) -> Teacher:
    library = find_library(name)
    sets = {weights.name: weights for weights in library.weights(name)}
    if wanted not in sets:
        hint = nearest(f"{name}:{wanted}", [*(f"{name}:{each}" for each in sets), *teacher_registry()], always=True)
        raise SettingsError(f"{name} has no weights {wanted!r} and there is no such file{hint}")
    weights = sets[wanted]
    network = library.load(name, weights).eval()
    identity = {"network": name, "weights": wanted, "url": weights.url}
    return Teacher(network, weights.transform, weights.class_names, identity)


def _identity(name: str, path: Path) -> dict[str, str]:
    return {"network": name, "weights": path.name, "sha256": sha256_of(path)}


def network_from_file(name: str, classes: int, path: str | Path) -> nn.Module:
    """Build an image network, in evaluation mode, with the weights of a file.

    Parameters
    ----------
    name : str
        As its library calls it.
    classes : int
    path : str or Path
        Anything that `read_state_dict` reads.

    Raises
    ------
    SettingsError
        If no library has such a network.
    FormatError
        If the file cannot be trusted or read, or does not fit.
    """
    path = Path(path)
    with Undrawn():
        network = find_library(name).build(name, classes)
    load_weights(network, path, f"{name} with {classes} classes")
    return network.eval()
