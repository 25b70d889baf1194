"""A network on disk: one safetensors file whose metadata is enough to build it again.

Every such file says its `format_version`; `student_file` and `classifiers.classifier_file` say what else theirs do.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from soundnet_kd.errors import FormatError, SettingsError
from soundnet_kd.storage import atomic_write
from soundnet_kd.system.machine_errors import translate_machine_errors

FORMAT_VERSION = 1
HEADER_SIZE_BYTES = 8
"""safetensors: the length of its JSON header, little-endian; then the header, padded with blanks; then the tensors."""

Network = TypeVar("Network", bound=nn.Module)


def write_network(network: nn.Module, path: str | Path, description: Mapping[str, str]) -> None:
    """Write a network, whole or not at all.

    Parameters
    ----------
    network : Module
    path : str or Path
    description : mapping
        All that is needed to build it again.
    """
    path = Path(path)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    write_tensors(tensors, path, {"format_version": str(FORMAT_VERSION), **description})


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


def read_network(
    path: str | Path, kind: str, command: str, keys: Sequence[str], build: Callable[[Mapping[str, str]], Network]
) -> Network:
    """Build the network that a file describes, with its weights, in evaluation mode.

    Parameters
    ----------
    path : str or Path
    kind : str
        What the file should hold, in the words of its reader, such as student.
    command : str
        The command that makes such files.
    keys : sequence of str
        What the file's description must have.
    build : callable
        Makes the network from the description, which is not trusted; what does not make sense may raise KeyError,
        TypeError or ValueError.

    Raises
    ------
    FormatError
        If the file is not of this kind, or its weights do not fit its description.
    """
    path = Path(path)
    try:
        with translate_machine_errors(path), safe_open(path, framework="pt") as file:
            description = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - safe_open is no mapping
    except (SafetensorError, OSError) as error:
        raise FormatError(f"{path} is not a readable {kind} ({error}); make one with `{command}`") from error
    lacking = [key for key in keys if key not in description]
    version = description.get("format_version")
    if version != str(FORMAT_VERSION) or lacking:
        found = f"it lacks {', '.join(lacking)}" if lacking else f"format {version}"
        raise FormatError(f"{path} is safetensors, but no {kind} of format {FORMAT_VERSION} ({found})")
    try:
        with torch.device("meta"):
            # Nothing is allocated for what the description says before the weights are seen to fit it.
            network = build(description)
    except (KeyError, TypeError, ValueError, SettingsError) as error:
        raise FormatError(f"{path} does not describe its network as it should ({error})") from error
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
        raise FormatError(f"{path} holds weights that are not finite numbers; its training diverged")
    try:
        network.load_state_dict(
            {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()},
            assign=True,
        )
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise FormatError(f"{path}: the weights do not fit {description['architecture']}: {reason}") from error
    return network.eval()
