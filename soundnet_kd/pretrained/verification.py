"""What makes a file the published one: its hash, or, where nobody published one, tensors of the right shapes."""

import hashlib
from pathlib import Path

import torch

from soundnet_kd.errors import FormatError
from soundnet_kd.models.device import Undrawn
from soundnet_kd.pretrained.conversion import convert
from soundnet_kd.pretrained.formats.state_dict import load_weights
from soundnet_kd.pretrained.image_networks import find_library
from soundnet_kd.pretrained.registry import KnownFile, PretrainedStudent, PretrainedWeights, PublishedFile

CHUNK_BYTES = 1 << 20


def check_file(weights: PublishedFile, path: str | Path, sha256: str | None = None) -> None:
    """Check a file before it is trusted.

    Parameters
    ----------
    weights : PublishedFile
        What the file should be; where a package has the same weights in another file, one of the two.
    path : str or Path
    sha256 : str, optional
        What its hash should be. [default: what the registry says]

    Raises
    ------
    FormatError
        If its size or hash differs, or, where no hash is known, if the file does not hold tensors of the right shapes.
    """
    path, package = Path(path), None if sha256 else weights.package
    if package is not None and package.sha256 == sha256_of(path):
        return
    try:
        check_hash(weights, path, weights.name, sha256)
    except FormatError as error:
        if package is None:
            raise
        raise FormatError(f"{error}, or as {package.file_name} the sha256 {package.sha256}") from error
    if sha256 or weights.sha256 or weights.git_blob:
        return
    if isinstance(weights, PretrainedStudent):
        convert(path, weights)
    elif isinstance(weights, PretrainedWeights):
        _check_shapes(weights, path)


def check_hash(file: KnownFile, path: str | Path, name: str, sha256: str | None = None) -> None:
    """Check a file by what is known of it: its size, and its hash or else git's id of it.

    Parameters
    ----------
    file : KnownFile
    path : str or Path
    name : str
        What it should be, for the message.
    sha256 : str, optional
        What its hash should be. [default: what the registry says]

    Raises
    ------
    FormatError
        If its size or hash differs.
    """
    path = Path(path)
    size, sha256 = path.stat().st_size, sha256 or file.sha256
    if file.size_bytes is not None and size != file.size_bytes:
        raise FormatError(f"{path} has {size} bytes; {name} has {file.size_bytes}")
    if sha256 is not None:
        if (found := sha256_of(path)) != sha256:
            raise FormatError(f"{path} has the sha256 {found}; {name} has {sha256}")
    elif file.git_blob is not None and (found := git_blob_of(path)) != file.git_blob:
        raise FormatError(f"{path} has the git blob id {found}; {name} has {file.git_blob}")


def sha256_of(path: str | Path) -> str:
    """Hash a file, as 64 hexadecimal digits."""
    path = Path(path)
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def git_blob_of(path: str | Path) -> str:
    """Return the id that git gives a file, as 40 hexadecimal digits."""
    path = Path(path)
    # sha1 no longer resists somebody who prepares two files alike; the readers run nothing in either.
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as handle:
        while chunk := handle.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _check_shapes(weights: PretrainedWeights, path: Path) -> None:
    classes = len(weights.class_names())
    with torch.device("meta"), Undrawn():
        network = find_library(weights.architecture).build(weights.architecture, classes)
    load_weights(network, path, f"{weights.architecture} with {classes} classes", assign=True)
