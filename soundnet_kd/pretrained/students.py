"""Networks from files and by name.

Whatever layout a student was published in, it is converted once and kept in the cache.
"""

import logging
import re
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path

from soundnet_kd.errors import FormatError, RunConflictError, SettingsError
from soundnet_kd.models import CLASSIFIER_FILE, STUDENT_FILE, Network, Student, read_network, write_network
from soundnet_kd.models.checkpoint import network_file, read_training, require_student
from soundnet_kd.pretrained.conversion import convert
from soundnet_kd.pretrained.fetching import cache_folder, fetch
from soundnet_kd.pretrained.registry import PretrainedStudent, did_you_mean, read_registry, student_registry
from soundnet_kd.pretrained.verification import check_file, sha256_of
from soundnet_kd.storage import lock_file, versions

NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,63}", re.ASCII)

log = logging.getLogger(__name__)


def load_network(network: str | Path | Network) -> Network:
    """Load a network of any kind with its preprocessing and class names, in evaluation mode.

    Parameters
    ----------
    network : str or Path or Network
        A student, a fine-tuned network or one from scratch: its file, the run folder of `soundnet-kd distill`,
        `finetune` or `train` that holds one, a student of the registry (`soundnet8`, fetched once into the user's cache
        and offline after that), or a name that `soundnet-kd weights import` gave. A network that is given stays as it
        is: a copy is returned.

    Raises
    ------
    SettingsError
        If there is no such file and no such name, or the student cannot be fetched; the message names the nearest.
    FormatError
        If the file is not a network.
    """
    if isinstance(network, Network):
        return deepcopy(network).eval()
    return _load(network, CLASSIFIER_FILE)


def load_student(student: str | Path) -> Student:
    """Load a student with its preprocessing and class names, in evaluation mode.

    Parameters
    ----------
    student : str or Path
        A `student.safetensors`, the run folder of `soundnet-kd distill` that holds one, a student of the registry, or a
        name that `soundnet-kd weights import` gave, as in `load_network`.

    Raises
    ------
    SettingsError
        If there is no such file and no such name, or the student cannot be fetched; the message names the nearest.
    FormatError
        If the file is not a student.
    """
    return require_student(_load(student, STUDENT_FILE), network_file(student, STUDENT_FILE))


def _load(network: str | Path, preferred: str) -> Network:
    """Read a network: where a run folder holds two, the `preferred` file."""
    file = network_file(network, preferred)
    name = str(network)
    if file.is_file():
        try:
            return read_network(file)
        except FormatError as error:
            if file.suffix == ".safetensors":
                raise
            raise FormatError(
                f"{file} is no student.safetensors; `soundnet-kd weights import {file} --as NAME` converts others"
            ) from error
    known = student_names()
    if name not in known:
        if preferred == STUDENT_FILE:
            missing, made_by = f"student {file}", "student.safetensors that `soundnet-kd distill` wrote"
        else:
            missing, made_by = f"network {network}", "file that `soundnet-kd distill`, `finetune` or `train` wrote"
        raise SettingsError(
            f"there is no {missing}{did_you_mean(name, known)} Give a {made_by}, its folder, or a name: "
            f"{', '.join(known)}"
        )
    entry = student_registry().get(name)
    place = student_place(name) if entry is None else fetch_student(entry)
    try:
        return read_network(place)
    except FormatError as error:
        raise FormatError(f"{error}; delete {place}, and fetch or import it again") from error


def fetch_student(entry: PretrainedStudent) -> Path:
    """Return a student of the registry as this package keeps it; fetch and convert it if it is not in the cache yet.

    Raises
    ------
    SettingsError
        If no source could be reached or gave the right file.
    FormatError
        If the file is not the right one.
    """
    place = student_place(entry.name)
    if not place.is_file():
        _convert(fetch(entry), entry.name, entry)
    return place


def import_student(file: str | Path, name: str, class_names: Sequence[str] | None = None) -> Path:
    """Convert a file that the user has, so that it can be loaded by name.

    Parameters
    ----------
    file : str or Path
        In any of the layouts of `soundnet_kd.pretrained.formats`, or a `student.safetensors`.
    name : str
        A student of the registry, which the file must then be, or a name of the user's own.
    class_names : sequence of str, optional
        Names of the outputs' classes, for a network from Keras, whose files hold none.

    Raises
    ------
    SettingsError
        If the name cannot be one, or the file cannot have such class names.
    FormatError
        If the file is no network, or not the one of this name in the registry.
    RunConflictError
        If the name has another network already.
    """
    file = Path(file)
    if not NAME.fullmatch(name):
        raise SettingsError(f"{name!r} cannot be a name; use letters, digits, '.', '_' and '-', at most 64")
    entry = read_registry().get(name)
    if entry is not None and not isinstance(entry, PretrainedStudent):
        raise SettingsError(f"{name} is a teacher of the registry; put its file into {cache_folder()} instead")
    if not file.is_file():
        raise SettingsError(f"there is no file {file} to import")
    if entry is not None:
        try:
            check_file(entry, file)
        except FormatError as error:
            raise FormatError(f"{error}; give it a name of your own with --as") from error
    return _convert(file, name, entry, class_names)


def student_names() -> tuple[str, ...]:
    """Name the students of the registry, then what was imported."""
    return tuple(dict.fromkeys([*student_registry(), *imported_names()]))


def imported_names() -> list[str]:
    """Name the students, and networks of other kinds, that lie in the cache, in alphabetical order."""
    suffix = student_place("").name
    return sorted(path.name.removesuffix(suffix) for path in student_place("").parent.glob(f"[!.]*{suffix}"))


def student_place(name: str) -> Path:
    """Return the place of a student in the cache, whether it is there or not."""
    return cache_folder() / "students" / f"{name}.safetensors"


def _convert(file: Path, name: str, entry: PretrainedStudent | None, class_names: Sequence[str] | None = None) -> Path:
    found = convert(file, entry, class_names)  # Before anything is written: a wrong file leaves nothing.
    place, sha256 = student_place(name), sha256_of(file)
    # Each of them is the network of this name, and was checked.
    has_several_files = entry is not None and entry.package is not None
    origin = {"name": name, "file": file.name, "sha256": sha256, "layout": found.layout, "versions": versions()}
    if entry is not None:
        origin |= {"licence": entry.licence, "source": entry.source}
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with lock_file(place.with_name(f".{place.name}.lock")):
            if not place.is_file():
                write_network(found.network, place, {**found.training, "weights": origin})
            elif (not has_several_files and read_training(place).get("weights", {}).get("sha256") != sha256) or (
                class_names is not None and read_network(place).class_names != found.network.class_names
            ):
                raise RunConflictError(f"{name} is another network already; choose another name, or delete {place}")
    except OSError as error:
        raise SettingsError(
            f"{name} cannot be kept in {place.parent} ({error.strerror or error}); let SOUNDNET_KD_CACHE name another "
            "folder"
        ) from error
    asked = found.network.preprocessing
    scale = f"±{asked.amplitude:g}" if asked.keeps_level else "each sound scaled to mean 0 and standard deviation 1"
    log.info("%s (layout: %s) hears %d Hz, %s", file, found.layout, asked.sample_rate, scale)
    return place
