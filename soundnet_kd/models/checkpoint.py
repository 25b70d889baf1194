"""A network on disk: one safetensors file whose metadata is enough to build it again.

The metadata of every file: `format_version` and `kind`, which says what it holds, `training` (JSON: the settings,
figures and versions that made it), and, for each kind:

`student`     a `Student`: `architecture` (such as SoundNet8, or SoundNet8x0.25, which has a quarter of its filters),
              `class_names` (JSON: head to names), `preprocessing` (JSON); if there are any,
              `untaught_heads` (JSON: list)
`finetuned`   a `FinetunedNetwork`: `architecture` (of the student), `layer` (that the head sits on, or several joined
              by a +), `class_names` (JSON: list), `preprocessing` (JSON); `head`, unless it is linear
`classifier`  a `SoundClassifier`, from scratch: `architecture`, `settings` (JSON: what `build_classifier` takes),
              `class_names` (JSON: list), `exclusive` (JSON: whether a sound is of one class only)

Files of version 0.1.0 have no `kind`; they are told apart by the keys that only theirs have, and whether
classes exclude each other is told by the loss among their settings. Files of teachers (`write_teacher`) have none
either, but `input_size`: targets know a teacher by the hash of its file, so that the same teacher has to be the same
bytes.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from soundnet_kd.errors import FormatError, SettingsError
from soundnet_kd.models.architectures import build_student
from soundnet_kd.models.classifiers.registry import build_classifier
from soundnet_kd.models.classifiers.sound_classifier import SoundClassifier
from soundnet_kd.models.device import Undrawn
from soundnet_kd.models.finetuned import FinetunedNetwork
from soundnet_kd.models.network import HEAD, Network
from soundnet_kd.models.preprocessing import Preprocessing
from soundnet_kd.models.student import Student
from soundnet_kd.storage import atomic_write
from soundnet_kd.system.machine_errors import translate_machine_errors

FORMAT_VERSION = 1
TEACHER = "teacher"
"""Kind of the file of an image network."""
STUDENT_FILE = "student.safetensors"
"""Name of the student in a run folder."""
CLASSIFIER_FILE = "classifier.safetensors"
"""Name of the network for labelled sounds in a run folder."""
HEADER_SIZE_BYTES = 8
"""safetensors: the length of its JSON header, little-endian; then the header, padded with blanks; then the tensors."""


def write_network(network: Network, path: str | Path, training: Mapping[str, Any]) -> None:
    """Write a network, whole or not at all.

    Parameters
    ----------
    network : Network
    path : str or Path
        Usually `student.safetensors` or `classifier.safetensors`.
    training : mapping
        How it came about; anything that JSON can hold.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    write_tensors(tensors, path, {**describe(network), "training": json.dumps(training, ensure_ascii=False)})


def describe(network: Network) -> dict[str, str]:
    """Describe a network in texts that are enough to build it again, but for its weights."""
    description = {"format_version": str(FORMAT_VERSION), "kind": network.kind, "architecture": network.architecture}
    if isinstance(network, SoundClassifier):
        return {
            **description,
            "settings": json.dumps(network.settings, ensure_ascii=False),
            "class_names": json.dumps(network.class_names[HEAD], ensure_ascii=False),
            "exclusive": json.dumps(network.exclusive),
        }
    if isinstance(network, FinetunedNetwork):
        description["layer"] = network.layer
        if network.head_kind != "linear":
            description["head"] = network.head_kind
    if network.untaught_heads:
        description["untaught_heads"] = json.dumps(network.untaught_heads)
    names = network.class_names if isinstance(network, Student) else network.class_names[HEAD]
    return {
        **description,
        "class_names": json.dumps(names, ensure_ascii=False),
        "preprocessing": json.dumps(asdict(network.preprocessing)),
    }


def read_network(path: str | Path) -> Network:
    """Build the network that a file describes, with its weights, classes and preprocessing, in evaluation mode.

    Parameters
    ----------
    path : str or Path
        A file, or the run folder of `soundnet-kd distill`, `finetune` or `train` that holds one.

    Raises
    ------
    FormatError
        If the file is not one that `write_network` wrote, or its weights do not fit its description.
    """
    path = network_file(path)
    with _open(path) as file:
        description = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - safe_open is no mapping
    kind = kind_of(description)
    if kind not in _KINDS:
        raise FormatError(f"{path} holds a network of kind {kind[:40]!r}; those for sounds are {', '.join(_KINDS)}")
    keys, build = _KINDS[kind]
    lacking = [key for key in keys if key not in description]
    version = description.get("format_version")
    if version != str(FORMAT_VERSION) or lacking:
        found = f"it lacks {', '.join(lacking)}" if lacking else f"format {version}"
        raise FormatError(f"{path} is safetensors, but no network of format {FORMAT_VERSION} ({found})")
    try:
        with torch.device("meta"), Undrawn():
            # Nothing is allocated for what the description says before the weights are seen to fit it.
            network = build(description)
    except (KeyError, TypeError, ValueError, SettingsError) as error:
        raise FormatError(f"{path} does not describe its network as it should ({error})") from error
    tensors = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    if not all(map(_is_finite, tensors.values())):
        raise FormatError(f"{path} holds weights that are not finite numbers; its training diverged")
    try:
        network.load_state_dict(tensors, assign=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise FormatError(f"{path}: the weights do not fit {description['architecture']}: {reason}") from error
    network.exclusive = _is_exclusive(description)
    return network.eval()


def read_student(path: str | Path) -> Student:
    """Build the student that a file describes, as `read_network`.

    Raises
    ------
    FormatError
        If the file holds no network, or one of another kind.
    """
    path = network_file(path, STUDENT_FILE)
    return require_student(read_network(path), path)


def require_student(network: Network, path: str | Path) -> Student:
    """Return a network that was read from a file, if it is a student.

    Raises
    ------
    FormatError
        If it is of another kind.
    """
    if not isinstance(network, Student):
        names = network.class_names[HEAD]
        told = f"{len(names)} classes" if len(names) > 1 else names[0]
        raise FormatError(
            f"{path} is no student, but a {network.architecture} that recognises {told} (such as `soundnet-kd "
            "finetune` or `train` makes); give the student.safetensors of `soundnet-kd distill`"
        )
    return network


def read_training(path: str | Path) -> dict[str, Any]:
    """Return the settings, figures and versions that made the network of a file.

    Raises
    ------
    FormatError
        If the file is none, or does not say it.
    """
    path = network_file(path)
    try:
        training = json.loads(read_metadata(path)["training"])
    except (KeyError, ValueError) as error:
        raise FormatError(f"{path} does not say how its network was made ({error!r})") from error
    if not isinstance(training, dict):
        raise FormatError(f"{path} does not say how its network was made in a table")
    return training


def network_file(path: str | Path, first: str = CLASSIFIER_FILE) -> Path:
    """Return the file of the network in a run folder, `first` if there are two; of anything else, itself.

    Of a repository in the cache of Hugging Face's hub client (`refs/main` names a folder in `snapshots/`) it is the
    file of the main version.
    """
    path = Path(path)
    if not path.is_dir():
        return path
    main = path / "refs" / "main"
    if main.is_file():
        path = path / "snapshots" / main.read_text(encoding="utf-8").strip()
    names = sorted((STUDENT_FILE, CLASSIFIER_FILE), key=lambda name: name != first)
    return next((path / name for name in names if (path / name).is_file()), path / first)


def write_tensors(tensors: Mapping[str, Tensor], path: str | Path, metadata: Mapping[str, str]) -> None:
    """Write a safetensors file, whole or not at all; the same content is the same bytes.

    safetensors itself writes the metadata in another order each time, so that a file's hash would tell nothing.
    """
    path = Path(path)
    with atomic_write(path) as partial:
        save_file(dict(tensors), partial, dict(metadata))
        with partial.open("rb+") as file:
            size = int.from_bytes(file.read(HEADER_SIZE_BYTES), "little")
            header = json.loads(file.read(size))
            header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
            ordered = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode().ljust(size)
            if len(ordered) == size:
                file.seek(HEADER_SIZE_BYTES)
                file.write(ordered)


def read_metadata(path: str | Path) -> dict[str, str]:
    """Return the metadata of a safetensors file.

    Raises
    ------
    FormatError
        If it is none.
    """
    with _open(Path(path)) as file:
        return file.metadata() or {}


def kind_of(metadata: Mapping[str, str]) -> str:
    """Return what a file of ours holds, by its metadata: a student, or something else."""
    if "kind" in metadata:
        return metadata["kind"]
    # As the first version left it to be told.
    telling = {"settings": SoundClassifier.kind, "layer": FinetunedNetwork.kind, "input_size": TEACHER}
    return next((kind for key, kind in telling.items() if key in metadata), Student.kind)


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    try:
        with translate_machine_errors(path), safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise FormatError(
            f"{path} is not a readable network ({error}); make one with `soundnet-kd distill`, `finetune` or `train`"
        ) from error


def _is_finite(tensor: Tensor) -> bool:
    if not tensor.is_floating_point() or not tensor.numel():
        return True
    # The least and the largest value of several are NaN where one is; to look at each takes ten times as long.
    return bool(torch.isfinite(torch.stack(tensor.aminmax())).all())


def _is_exclusive(description: Mapping[str, str]) -> bool:
    """Return whether a sound is of one class only; all are but those of networks from scratch that learned tags."""
    if "exclusive" in description:
        return description["exclusive"] == "true"
    try:
        return bool(json.loads(description["training"])["training"]["loss"] == "cross_entropy")
    except (KeyError, TypeError, ValueError):
        return True


def _build_student(description: Mapping[str, str]) -> Student:
    class_names = json.loads(description["class_names"])
    # A number would build as many names as it says.
    if not isinstance(class_names, dict) or not all(
        head.isidentifier() and _are_names(names) for head, names in class_names.items()
    ):
        raise ValueError("it does not list the names of its classes")
    preprocessing = Preprocessing(**json.loads(description["preprocessing"]))
    student = build_student(description["architecture"], class_names, preprocessing)
    student.untaught_heads = tuple(json.loads(description.get("untaught_heads", "[]")))
    return student


def _build_finetuned(description: Mapping[str, str]) -> FinetunedNetwork:
    class_names = json.loads(description["class_names"])
    if not _are_names(class_names):
        raise ValueError("it does not list the names of its classes")
    preprocessing = Preprocessing(**json.loads(description["preprocessing"]))
    network = build_student(description["architecture"], {"unused": 1}, preprocessing)
    head: Any = description.get("head", "linear")
    return FinetunedNetwork(network, description["layer"], class_names, head=head)


def _build_from_scratch(description: Mapping[str, str]) -> SoundClassifier:
    return build_classifier(description["architecture"], json.loads(description["settings"]))


def _are_names(names: object) -> bool:
    return isinstance(names, list) and all(isinstance(name, str) for name in names)


_KINDS: Mapping[str, tuple[tuple[str, ...], Callable[[Mapping[str, str]], Network]]] = {
    Student.kind: (("architecture", "class_names", "preprocessing"), _build_student),
    FinetunedNetwork.kind: (("architecture", "layer", "class_names", "preprocessing"), _build_finetuned),
    SoundClassifier.kind: (("architecture", "settings"), _build_from_scratch),
}
"""What the description of each kind must have, and what builds its network; it is not trusted."""
