"""A module as a graph of ONNX, which other programs and languages run."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from soundnet_kd.errors import SettingsError
from soundnet_kd.inference.graph import BATCH, Sizes, export_graph
from soundnet_kd.system.extras import import_extra

if TYPE_CHECKING:
    from onnx import ModelProto

EXTRA = "onnxruntime"
OPSET = 18
"""Of 2022: ONNX Runtime 1.14 and later run it."""


def to_onnx(
    module: nn.Module,
    example: Tensor,
    outputs: Sequence[str],
    free: Sizes = BATCH,
    metadata: Mapping[str, str] | None = None,
    input_name: str = "waveform",
) -> "ModelProto":
    """Convert a module that maps a tensor to tensors.

    Parameters
    ----------
    module : Module
        In evaluation mode.
    example : Tensor
        Its input, of any size; what is free may not be 1 in it.
    outputs : sequence of str
        Names of what it gives, in its order.
    free : mapping from axis to (name, least size)
        The axes whose size stays free, such as `{0: ("batch", 1), 2: ("samples", 300_000)}`.
    metadata : mapping, optional
        Kept in the graph.
    input_name : str

    Raises
    ------
    SettingsError
        If a library is missing, or the module cannot be converted; the message says which part.
    """
    import_extra("onnx", EXTRA)
    import_extra("onnxscript", EXTRA)
    return graph_to_onnx(export_graph(module, example, free), outputs, free, metadata, input_name)


def graph_to_onnx(
    graph: ExportedProgram,
    outputs: Sequence[str],
    free: Sizes = BATCH,
    metadata: Mapping[str, str] | None = None,
    input_name: str = "waveform",
) -> "ModelProto":
    """Convert a graph of `export_graph`, as `to_onnx` does a module."""
    onnx = import_extra("onnx", EXTRA)
    optimizer = import_extra("onnxscript.optimizer", EXTRA)
    try:
        program = torch.onnx.export(
            graph,
            dynamo=True,
            input_names=[input_name],
            output_names=list(outputs),
            opset_version=OPSET,
            # Its rules take small constants, such as the 1e-10 under a logarithm, for 0 (see findings/).
            optimize=False,
            verbose=False,
        )
    except Exception as error:
        # Those of the converter say at the end what it could not translate.
        reason = " ".join(str(error.__cause__ or error).split())
        raise SettingsError(
            f"the graph cannot be converted to ONNX by PyTorch {torch.__version__}: {reason}"
        ) from error
    assert program is not None
    optimizer.fold_constants_ir(program.model, onnx_shape_inference=True)
    optimizer.remove_unused_nodes(program.model)
    model: ModelProto = program.model_proto
    (given,) = model.graph.input
    names = {given.type.tensor_type.shape.dim[axis].dim_param: name for axis, (name, _) in free.items()}
    for value in (given, *model.graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:
                # Whatever PyTorch knows of it, such as ((s27//2) - 7)//8 + 1.
                dim.dim_param = names.get(dim.dim_param, f"{value.name}_steps")
    del model.graph.value_info[:]
    onnx.helper.set_model_props(model, dict(metadata or {}))
    return model
