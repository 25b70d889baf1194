"""The files that a portable network is written to, each of a format that other programs run without this package.

`onnx`      a graph of ONNX
`openvino`  OpenVINO's XML, with the weights in a `.bin` of the same name beside it
`torch`     an archive of `torch.export`, which `torch.export.load` reads

Each holds the description of `PortableNetwork.description` in texts: in ONNX's `metadata_props`, in OpenVINO's
`rt_info` under `soundnet_kd`, in the archive as the extra file `soundnet_kd.json`.
"""

import json
import xml.etree.ElementTree as ElementTree
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.export import ExportedProgram

from soundnet_kd.errors import RunConflictError
from soundnet_kd.inference.backends import compile_for_openvino
from soundnet_kd.inference.graph import Sizes
from soundnet_kd.inference.onnx import EXTRA, graph_to_onnx
from soundnet_kd.inference.portable import from_texts
from soundnet_kd.system.extras import import_extra

DESCRIPTION = "soundnet_kd"
Run = Callable[[NDArray[np.float32]], list[NDArray[np.float32]]]
"""From sounds (batch, samples) to the outputs in order."""


@dataclass(frozen=True)
class FileFormat:
    """A format: what its files end in, the libraries that it needs, and how they are written, run and read.

    Attributes
    ----------
    suffix : str
    libraries : mapping from library to the extra that it comes with
    write : callable
        Writes a graph to a path.
    run : callable
        Returns what runs the file of a path with the outputs of these names.
    read_description : callable
        Returns the texts that the file of a path was written with.
    weights_suffix : str
        Of a second file, of the same name, that is written beside it; empty if there is none.
    transforms : bool
        Whether it knows Fourier transforms of windows of a sound whose length is free.
    """

    suffix: str
    libraries: Mapping[str, str]
    write: Callable[[Path, ExportedProgram, tuple[str, ...], Sizes, Mapping[str, str]], None]
    run: Callable[[Path, tuple[str, ...]], Run]
    read_description: Callable[[Path], Mapping[str, str]]
    weights_suffix: str = ""
    transforms: bool = True


def read_description(path: str | Path, format_: FileFormat) -> dict[str, Any]:
    """Return the description that a file was written with; that of any other network is empty, or another.

    Raises
    ------
    RunConflictError
        If it is not of this format.
    """
    try:
        return from_texts(format_.read_description(Path(path)))
    except Exception as error:
        # Each library has its own for a file that is none of its.
        raise RunConflictError(
            f"{path} is there already, and is no network that can be read; choose another --out or remove it"
        ) from error


def _write_onnx(
    path: Path, graph: ExportedProgram, outputs: tuple[str, ...], free: Sizes, texts: Mapping[str, str]
) -> None:
    path.write_bytes(graph_to_onnx(graph, outputs, free, texts).SerializeToString())


def _run_onnx(path: Path, outputs: tuple[str, ...]) -> Run:
    runtime = import_extra("onnxruntime", EXTRA)
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda waveform: list(session.run(outputs, {"waveform": waveform}))


def _describe_onnx(path: Path) -> Mapping[str, str]:
    onnx = import_extra("onnx", EXTRA)
    return {entry.key: entry.value for entry in onnx.load(path, load_external_data=False).metadata_props}


def _write_openvino(
    path: Path, graph: ExportedProgram, outputs: tuple[str, ...], free: Sizes, texts: Mapping[str, str]
) -> None:
    openvino = import_extra("openvino", "openvino")
    model = openvino.Core().read_model(graph_to_onnx(graph, outputs, free).SerializeToString())
    model.set_rt_info(dict(texts), DESCRIPTION)
    # The weights go beside it.
    openvino.save_model(model, path, compress_to_fp16=False)


def _run_openvino(path: Path, outputs: tuple[str, ...]) -> Run:
    # Many CPUs would compute in bf16 else.
    compiled = compile_for_openvino(path, {"INFERENCE_PRECISION_HINT": "f32"})

    def run(waveform: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        answers = compiled(waveform)
        return [answers[output] for output in outputs]

    return run


def _describe_openvino(path: Path) -> Mapping[str, str]:
    found = ElementTree.parse(path).find(f"rt_info/{DESCRIPTION}")
    return {} if found is None else {entry.tag: entry.attrib["value"] for entry in found}


def _write_torch(
    path: Path, graph: ExportedProgram, outputs: tuple[str, ...], free: Sizes, texts: Mapping[str, str]
) -> None:
    extra = json.dumps(dict(texts), ensure_ascii=False, indent=2)
    with path.open("wb") as file:
        # To a path it refuses, before PyTorch 2.9, another suffix than .pt2, and names the archive by it.
        torch.export.save(graph, file, extra_files={f"{DESCRIPTION}.json": extra})


def _run_torch(path: Path, outputs: tuple[str, ...]) -> Run:
    module = torch.export.load(path).module()

    def run(waveform: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        with torch.no_grad():
            answers = module(torch.from_numpy(waveform))
        return [answers[output].numpy() for output in outputs]

    return run


def _describe_torch(path: Path) -> Mapping[str, str]:
    with zipfile.ZipFile(path) as archive:
        name = next((each for each in archive.namelist() if each.endswith(f"extra/{DESCRIPTION}.json")), None)
        texts = {} if name is None else json.loads(archive.read(name))
    return {str(key): str(value) for key, value in texts.items()}


FORMATS: Mapping[str, FileFormat] = {
    "onnx": FileFormat(
        ".onnx",
        {"onnx": EXTRA, "onnxscript": EXTRA, "onnxruntime": EXTRA},
        _write_onnx,
        _run_onnx,
        _describe_onnx,
    ),
    "openvino": FileFormat(
        ".xml",
        {"openvino": "openvino", "onnx": EXTRA, "onnxscript": EXTRA},
        _write_openvino,
        _run_openvino,
        _describe_openvino,
        ".bin",
        transforms=False,
    ),
    "torch": FileFormat(".pt2", {}, _write_torch, _run_torch, _describe_torch),
}
