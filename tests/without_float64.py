"""A device that has no float64, as Apple's GPU, simulated on the processor.

Parameters, buffers, what is put on a device and what is computed of these is on it; `cpu()`, `numpy()`, `item()` and
`tolist()` bring it back. Whatever would be 64 bit wide there fails with PyTorch's own words.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

WORDS = "Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64"
BACK = (Tensor.cpu, Tensor.numpy, Tensor.item, Tensor.tolist)


class WithoutFloat64(TorchFunctionMode):
    """Watch every function of PyTorch while it is entered.

    Attributes
    ----------
    computed : int
        How many results lay on the device.
    """

    def __init__(self) -> None:
        super().__init__()
        self.computed = 0
        self._there = WeakIdKeyDictionary()

    def __torch_function__(
        self, function: Any, types: Any, arguments: tuple[Any, ...] = (), options: dict[str, Any] | None = None
    ) -> Any:
        options = options or {}
        result = function(*arguments, **options)
        given = [leaf for leaf in tree_leaves((arguments, options)) if isinstance(leaf, Tensor)]
        puts = function is Tensor.to and any(isinstance(leaf, torch.device) for leaf in tree_leaves(arguments[1:]))
        makes = isinstance(options.get("device"), torch.device)
        if function in BACK:
            for leaf in tree_leaves(result):
                if isinstance(leaf, Tensor):
                    self._there[leaf] = False
            return result
        if puts or makes or any(map(self._is_there, given)):
            for leaf in tree_leaves(result):
                if isinstance(leaf, Tensor):
                    if leaf.dtype in (torch.float64, torch.complex128):
                        raise TypeError(WORDS)
                    self._there[leaf] = True
                    self.computed += 1
        return result

    def _is_there(self, tensor: Tensor) -> bool:
        return bool(self._there.get(tensor, isinstance(tensor, nn.Parameter)))  # type: ignore[no-untyped-call]
