"""The engines that can run a network: PyTorch, which is always there, OpenVINO and ONNX Runtime."""

import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any, Literal, cast, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from soundnet_kd.errors import FormatError, SettingsError, one_line
from soundnet_kd.inference.graph import BATCH, export_graph
from soundnet_kd.inference.onnx import graph_to_onnx
from soundnet_kd.system.extras import import_extra, unreported

log = logging.getLogger(__name__)

Backend = Literal["torch", "openvino", "onnxruntime"]
BackendOrAuto = Literal["auto", Backend]
Precision = Literal["32", "bf16"]

LIBRARIES: Mapping[Backend, Sequence[str]] = {
    "torch": (),
    "openvino": ("openvino",),
    "onnxruntime": ("onnxruntime", "onnx", "onnxscript"),
}
"""What a back end needs beside PyTorch."""

Free = Mapping[int, tuple[str, int]]
"""The axes whose size stays free, with the name and the least size of each."""
LARGEST_ERROR: Mapping[Precision, float] = {"32": 1e-5, "bf16": 1e-2}
"""Of an engine's answer against PyTorch's in 32 bit, relative to its 2-norm."""

Compiled = Callable[[Tensor], tuple[Tensor, ...]]
"""What a module became: it takes a batch on any device, and gives what the module gives, in its order."""


def choose_backend(asked: BackendOrAuto, device: torch.device, precision: Precision = "32") -> Backend:
    """Return the engine that a module is to run on.

    Parameters
    ----------
    asked : str
        auto is the first of OpenVINO, ONNX Runtime and PyTorch that is installed: the fastest of them on a CPU for
        torchvision's networks and for those of many small steps. On another device it is PyTorch.
    device : device
    precision : {"32", "bf16"}
        In bf16 auto leaves out ONNX Runtime, whose CPU kernels compute in 32 bit.

    Raises
    ------
    SettingsError
        If it does not exist, is not installed, or does not run on that device or in that precision.
    """
    if asked not in get_args(BackendOrAuto) or precision not in get_args(Precision):
        named, known = (asked, BackendOrAuto) if asked not in get_args(BackendOrAuto) else (precision, Precision)
        raise SettingsError(f"{named!r} is none of {', '.join(_names(known))}")
    if asked == "torch" or (asked == "auto" and device.type != "cpu"):
        return "torch"
    if asked == "auto":
        order: tuple[Backend, ...] = ("openvino",) if precision == "bf16" else ("openvino", "onnxruntime")
        return next((backend for backend in order if all(map(find_spec, LIBRARIES[backend]))), "torch")
    if device.type != "cpu":
        raise SettingsError(f"{asked} runs on the CPU here; leave --backend out, or give --device cpu")
    if asked == "onnxruntime" and precision == "bf16":
        raise SettingsError("onnxruntime computes in 32 bit on a CPU; give --backend openvino or torch for bf16")
    for library in LIBRARIES[asked]:
        import_extra(library, asked)
    return asked


def _names(literal: Any) -> list[str]:
    """Return the names that a literal of literals stands for."""
    return [name for each in get_args(literal) for name in (_names(each) if get_args(each) else [each])]


def backend_version(backend: Backend) -> str:
    """Return the version of an engine."""
    try:
        return version(backend)
    except PackageNotFoundError:
        # One that is built for other devices has another name.
        return str(import_extra(backend, backend).__version__)


def compile_module(
    module: nn.Module,
    example: Tensor,
    backend: Backend,
    precision: Precision = "32",
    free: Free = BATCH,
) -> tuple[Backend, Compiled]:
    """Make a module ready to run.

    Parameters
    ----------
    module : Module
        In evaluation mode, on its device; it maps a tensor to one tensor, or to several.
    example : Tensor
        Its input, of any size; what is free may not be 1 in it.
    backend : {"torch", "openvino", "onnxruntime"}
    precision : {"32", "bf16"}
        bf16 keeps 8 bits of each number: answers are within a hundredth.
    free : mapping from axis to (name, least size)
        The axes whose size stays free, such as `{0: ("batch", 1), 2: ("samples", 300_000)}`.

    Returns
    -------
    backend : str
        The one that it became: PyTorch, with a warning, where the engine asked for cannot take a part of the module, or
        answers otherwise than PyTorch.
    compiled : callable
    """
    if backend == "torch":
        return backend, _torch(module, precision)
    try:
        make = _openvino if backend == "openvino" else _onnxruntime
        compiled = make(module, example, free, precision)
        _require_equal(compiled, _torch(module, "32"), _probe(example, free), precision)
    except Exception as error:
        # Engines raise what they like where they do not know an operator.
        log.warning("%s cannot run %s (%s); PyTorch does", backend, type(module).__name__, one_line(error))
        return "torch", _torch(module, precision)
    return backend, compiled


def _torch(module: nn.Module, precision: Precision) -> Compiled:
    device = next((parameter.device for parameter in module.parameters()), torch.device("cpu"))

    @torch.inference_mode()
    def run(batch: Tensor) -> tuple[Tensor, ...]:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            answer: Any = module(batch.to(device))
        return tuple(each.float() for each in as_tensors(answer, module))

    return run


def as_tensors(answer: Any, module: nn.Module) -> tuple[Tensor, ...]:
    """Return a module's answer, be it a tensor or several, as tensors.

    Raises
    ------
    FormatError
        If it is anything else.
    """
    parts = tuple(answer.values()) if isinstance(answer, Mapping) else answer
    parts = (parts,) if isinstance(parts, Tensor) else parts
    if not isinstance(parts, Sequence) or not parts or not all(isinstance(part, Tensor) for part in parts):
        given = "nothing" if answer is None else f"a {type(answer).__name__}"
        raise FormatError(f"{type(module).__name__} gives {given}; let it give a tensor")
    return tuple(parts)


def compile_for_openvino(model: Any, settings: Mapping[str, object]) -> Any:
    """Return a model of OpenVINO's, or that of a file, compiled for the CPU.

    In a thread that ends: the one that compiles is given memory of OpenVINO's as the stack on which its signal handlers
    run, and that is unmapped with the compiled model. Were it a thread that goes on, a later Ctrl-C or end of a child
    process might end this one, without a word (`findings/openvino-signal-stack.sh`).

    Raises
    ------
    SettingsError
        If OpenVINO is not installed.
    """
    core = import_extra("openvino", "openvino").Core()
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(core.compile_model, model, "CPU", settings).result()


def _openvino(module: nn.Module, example: Tensor, free: Free, precision: Precision) -> Compiled:
    openvino = import_extra("openvino", "openvino")
    shape = [-1 if axis in free else size for axis, size in enumerate(example.shape)]
    # Tracing takes a fraction of what torch.export does, and tells of each number that it takes for a constant.
    with torch.no_grad(), warnings.catch_warnings(), unreported():
        warnings.simplefilter("ignore")
        model = openvino.convert_model(module, example_input=example, input=[openvino.PartialShape(shape)])
    settings = {
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "PERFORMANCE_HINT": "LATENCY",
    }
    compiled = compile_for_openvino(model, settings)

    def run(batch: Tensor) -> tuple[Tensor, ...]:
        answers = compiled(batch.numpy())
        # The arrays belong to the engine, which writes the next answers there.
        return tuple(torch.from_numpy(np.array(answers[place])) for place in range(len(compiled.outputs)))

    return run


def _onnxruntime(module: nn.Module, example: Tensor, free: Free, precision: Precision) -> Compiled:
    assert precision == "32"
    onnxruntime = import_extra("onnxruntime", "onnxruntime")
    graph = export_graph(module, example, free)
    outputs = [f"output{place}" for place in range(len(graph.graph_signature.user_outputs))]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    model = graph_to_onnx(graph, outputs, free).SerializeToString()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()

    def run(batch: Tensor) -> tuple[Tensor, ...]:
        answers = cast(Sequence[NDArray[np.float32]], session.run(outputs, {given.name: batch.numpy()}))
        return tuple(torch.from_numpy(answer) for answer in answers)

    return run


def _probe(example: Tensor, free: Free) -> Tensor:
    """Return noise that is larger than the example wherever its size is free."""
    sizes = [size + 1 if axis in free else size for axis, size in enumerate(example.shape)]
    spread = float(example.std()) or 1.0
    return torch.randn(sizes, generator=torch.Generator().manual_seed(0)) * spread


def _require_equal(compiled: Compiled, exact: Compiled, probe: Tensor, precision: Precision) -> None:
    for found, wanted in zip(compiled(probe), exact(probe), strict=True):
        if found.shape != wanted.shape:
            raise ValueError(f"it gives {tuple(found.shape)} where PyTorch gives {tuple(wanted.shape)}")
        error = float((found - wanted.cpu()).norm() / wanted.norm().clamp_min(1e-30))
        if not error <= LARGEST_ERROR[precision]:
            raise ValueError(f"its answer to noise differs by {error:.1e}")
