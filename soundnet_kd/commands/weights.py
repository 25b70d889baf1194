"""The commands about weights: list them, fetch them, identify a file, import a file."""

from dataclasses import dataclass
from pathlib import Path

from soundnet_kd.errors import FormatError, SettingsError
from soundnet_kd.models import Network
from soundnet_kd.models.checkpoint import kind_of, read_metadata
from soundnet_kd.pretrained.conversion import convert
from soundnet_kd.pretrained.downloading import partial_file
from soundnet_kd.pretrained.fetching import (
    cached_file,
    check_file,
    fetch,
    git_blob_of,
    known_sha256,
    sha256_of,
)
from soundnet_kd.pretrained.registry import PretrainedStudent, PublishedFile, find_entry, read_registry
from soundnet_kd.pretrained.students import fetch_student, import_student, imported_names, student_place


@dataclass(frozen=True)
class WeightsList:
    """The weights that can be used by name.

    Attributes
    ----------
    rows : tuple of (name, kind, architecture, licence, state)
    """

    rows: tuple[tuple[str, str, str, str, str], ...]

    def __str__(self) -> str:
        header = ("name", "kind", "network", "licence", "here")
        table = (header, *self.rows)
        widths = [max(len(row[column]) for row in table) for column in range(len(header))]
        return "\n".join(
            "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in table
        )


@dataclass(frozen=True)
class WeightsFile:
    """A set of weights in the cache, which can be used by name."""

    name: str
    path: Path
    use: str

    def __str__(self) -> str:
        return f"{self.name} is in {self.path}; use it with {self.use}"


@dataclass(frozen=True)
class Verdict:
    """Which published weights a file holds.

    Attributes
    ----------
    path : Path
    names : tuple of str
        The entries of the registry that it is, or may be.
    reason : str
        How this was decided.
    """

    path: Path
    names: tuple[str, ...]
    reason: str

    def __str__(self) -> str:
        return f"{self.path} is {' and '.join(self.names)}: {self.reason}"


def list_weights() -> WeightsList:
    """List the weights that can be used by name: those of the registry, and those that you imported.

    The column "here" shows which are in the cache and need no download.
    """
    known = read_registry()
    rows = [(name, entry.kind, entry.architecture, entry.licence, _state(entry)) for name, entry in known.items()]
    for name in imported_names():
        if name not in known:
            rows.append((name, *_kind_and_architecture(student_place(name)), "-", "imported"))
    return WeightsList(tuple(rows))


def fetch_weights(name: str) -> WeightsFile:
    """Download a set of weights of the registry into the cache; no network is needed from then on.

    A download that was interrupted continues where it was. The file must have the registry's hash, if one is known.
    Students are then converted to safetensors.

    Parameters
    ----------
    name : str
        Name of the weights, such as soundnet8 or resnet18:PLACES365; `soundnet-kd weights list` shows all.
    """
    entry = find_entry(name)
    path = fetch_student(entry) if isinstance(entry, PretrainedStudent) else fetch(entry)
    return WeightsFile(name, path, f"--student {name}" if entry.kind == "student" else f"--objects or --scenes {name}")


def verify_weights(file: Path | str) -> Verdict:
    """Tell which set of weights of the registry a file is, or why it is none of them.

    The exit status is 0 only if the file is one of them. The file must have the hash in the registry; where no hash was
    published, its tensors must have the right names and shapes and, if the weights were downloaded before, it must
    equal the first download.

    Parameters
    ----------
    file : str or Path
        A file of weights in any known format; no code that it may contain is executed.
    """
    file = Path(file)
    if not file.is_file():
        raise SettingsError(f"there is no file {file} to verify")
    known = read_registry()
    hashes = {file_hash: kind for kind, file_hash in (("sha256", sha256_of(file)), ("git blob", git_blob_of(file)))}
    exact, fitting = [], []
    for name, entry in known.items():
        wanted = known_sha256(entry, cached_file(entry)) or entry.git_blob
        if wanted in hashes:
            exact.append((name, f"it has the {hashes[wanted]} {wanted}"))
        elif wanted is None and _fits(entry, file):
            fitting.append(name)
    if exact:
        return Verdict(file, tuple(name for name, _ in exact), exact[0][1])
    if fitting:
        reason = "names and shapes of its tensors fit; nobody published a hash, so more cannot be told"
        return Verdict(file, tuple(fitting), reason)
    raise FormatError(_why_none(file))


def import_weights(file: Path | str, as_: str, classes: list[str] | None = None) -> WeightsFile:
    """Convert a network from a file, so that it can be used by name.

    The file may be the released PyTorch state dict (sound8.pth), the .npy dict of the TensorFlow port, the authors'
    Torch7 network (.t7, or the zip that holds it), a checkpoint of `soundnet-kd distill`, a student.safetensors, or
    the HDF5 file of Keras 2 (.h5, a whole model or its weights) of a network from scratch: CatsDogs, NSynthSimple,
    NSynthBetter or LightCNN, told by its shapes. No code that it may contain is executed, and nothing is written if it
    cannot be used.

    Parameters
    ----------
    file : str or Path
        The file, which is not changed.
    as_ : str
        Name to use it by: a new name, or that of a student in the registry, which the file must then be.
    classes : list of str, optional
        Of a file of Keras, which keeps none: the name of the class of each output, in their order; a single output
        tells the second of two classes. [default: those of the published network, if it has as many, else numbers]
    """
    file = Path(file)
    return WeightsFile(as_, import_student(file, as_, classes), f"--student {as_}")


def _state(entry: PublishedFile) -> str:
    if entry.kind == "student" and student_place(entry.name).is_file():
        return "yes"
    path = cached_file(entry)
    if path.is_file():
        return "yes" if entry.kind == "teacher" else "not converted yet"
    partial = partial_file(path)
    return f"{partial.stat().st_size / 1e6:.1f} MB of it" if partial.is_file() else "no"


def _kind_and_architecture(network: Path) -> tuple[str, str]:
    try:
        metadata = read_metadata(network)
    except FormatError:
        return "?", "?"
    return kind_of(metadata), metadata.get("architecture", "?")


def _fits(entry: PublishedFile, file: Path) -> bool:
    try:
        check_file(entry, file)
    except FormatError:
        return False
    return True


def _why_none(file: Path) -> str:
    hashes = f"sha256 {sha256_of(file)}, git blob {git_blob_of(file)}"
    try:
        found = convert(file)
    except FormatError as error:
        return f"{error}; it is none of the registry's weights ({hashes})"
    return (
        f"{file} is none of the registry's weights ({hashes}), but a {_described(found.network)} that can be imported "
        f"(layout: {found.layout})"
    )


def _described(network: Network) -> str:
    heads = ", ".join(f"{len(names)} {head}" for head, names in network.class_names.items())
    return f"{network.architecture} with {heads}"
