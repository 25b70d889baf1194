"""Training on several devices and machines: who starts the processes, and batch norm over all of their clips."""

import atexit
import inspect
import os
from collections.abc import Mapping
from multiprocessing import parent_process
from typing import Any

import lightning
import torch
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment, find_free_network_port
from lightning.fabric.plugins.environments.lsf import LSFEnvironment
from lightning.fabric.plugins.environments.mpi import MPIEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.plugins.layer_sync import LayerSync
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from soundnet_kd.errors import SettingsError, counted
from soundnet_kd.models.pooled_convolution import follow
from soundnet_kd.system.child_processes import end_with_parent
from soundnet_kd.system.launch import Launch, find_launch
from soundnet_kd.training.trainer import silence_lightning


def trainer_options(device: torch.device, devices: int, nodes: int, together: bool = True) -> dict[str, Any]:
    """Return the options of a `lightning.Trainer` that trains on these devices.

    On one machine the processes are started here; on several, one process for each device has to be started by
    torchrun, SLURM, LSF or MPI. Batch norm sees the clips of all devices, so that the number of devices changes nothing
    but the speed.

    Parameters
    ----------
    device : torch.device
    devices : int
        On each machine.
    nodes : int
        Machines.
    together : bool
        Processes that a launcher started share the training; without it each has one of its own.

    Raises
    ------
    SettingsError
        If there are fewer devices or processes than that, or several machines but nothing that started processes on
        them.
    """
    if devices < 1 or nodes < 1:
        raise SettingsError(f"devices is {devices} and nodes is {nodes}; both have to be at least 1")
    launch = find_launch() if together else None
    if launch is not None and launch.processes != devices * nodes:
        raise SettingsError(
            f"{launch.name} started {launch.processes} processes, but this training takes {devices * nodes} "
            f"(--devices {devices}, --nodes {nodes}); let it start {devices * nodes}, such as by `srun -n "
            f"{devices * nodes}`, or give distill --devices and --nodes that make {launch.processes}"
        )
    environment = _environment(launch, devices)
    # Lightning takes it from whatever variable of some launcher it finds.
    rank_zero_only.rank = 0 if launch is None else launch.rank  # type: ignore[attr-defined]
    if launch is None and devices * nodes == 1:
        return {
            "accelerator": device.type,
            "devices": [device.index or 0] if device.type == "cuda" else 1,
            "plugins": [environment],
        }
    if device.type not in ("cpu", "cuda") or device.index is not None:
        raise SettingsError(f"several devices are given as --device cuda or cpu with --devices, not {device}")
    if device.type == "cuda" and torch.cuda.device_count() < devices:
        raise SettingsError(f"devices is {devices}, but this machine has {torch.cuda.device_count()} GPUs")
    started = launch is not None
    if nodes > 1 and not started:
        raise SettingsError(
            f"nodes is {nodes}, but nothing started a process for each device; run the command on every machine with "
            f"torchrun --nnodes {nodes} --nproc_per_node {devices}, or with SLURM's srun"
        )
    strategy = QuietDDP(start_method="popen" if started else "spawn", **_NO_EXCHANGE_OF_BUFFERS)
    plugins: list[Any] = [environment]
    synchronised: dict[str, Any] = {"sync_batchnorm": True}
    if device.type == "cpu":
        plugins, synchronised = [environment, GatheredBatchNorms()], {}
    return {
        "accelerator": device.type,
        "devices": devices,
        "num_nodes": nodes,
        "strategy": strategy,
        "callbacks": [] if started else [EndWithParent()],
        "plugins": plugins,
        **synchronised,
    }


def clips_per_batch(batch_size: int, accumulate: int, processes: int) -> int:
    """Return the clips of one batch on one device.

    Raises
    ------
    SettingsError
        If a step's clips cannot be divided equally.
    """
    if accumulate < 1:
        raise SettingsError(f"accumulate is {accumulate}; at least one batch makes a step")
    pieces = accumulate * processes
    if batch_size % pieces:
        nearest = max(1, round(batch_size / pieces)) * pieces
        raise SettingsError(
            f"batch_size is {batch_size}, which {accumulate} accumulated batch{'es' * (accumulate > 1)} on "
            f"{counted(processes, 'device')} do not divide equally; a batch_size of {nearest} would do"
        )
    return batch_size // pieces


# The buffers are the same everywhere, since batch norm sees all clips; exchanging them at each pass would make ranks
# with fewer held-out batches wait for ever. Newer versions of torch have another name for the option.
_KNOWN_OPTIONS = inspect.signature(DistributedDataParallel.__init__).parameters
_NO_EXCHANGE_OF_BUFFERS: dict[str, Any] = {
    "forward_sync_buffers" if "forward_sync_buffers" in _KNOWN_OPTIONS else "broadcast_buffers": False
}


class EndWithParent(lightning.Callback):
    """End a process when the one that started it is gone, so that no killed run trains on unseen."""

    def setup(self, *arguments: Any, **options: Any) -> None:
        """Begin to look whether it is still there."""
        if parent_process() is not None:
            end_with_parent()


class OneMachine(LightningEnvironment):
    """Processes that are started here, or a single one; what other launchers left in the shell counts for nothing."""

    def __init__(self) -> None:
        super().__init__()
        self._parent = os.getpid()
        self._port = 0

    @property
    def creates_processes_externally(self) -> bool:
        """Nothing else started them."""
        return False

    @property
    def main_address(self) -> str:
        """Where they meet."""
        return "127.0.0.1"

    @property
    def main_port(self) -> int:
        """A port that is free, the same in all of them."""
        self._port = self._port or find_free_network_port()
        return self._port

    def local_rank(self) -> int:
        """Which of them this one is, as Lightning told it."""
        return 0 if os.getpid() == self._parent else int(os.environ.get("LOCAL_RANK", 0))

    def node_rank(self) -> int:
        """There is one machine."""
        return 0

    def teardown(self) -> None:
        """Leave the shell's variables as they are."""


class QuietDDP(DDPStrategy):
    """Lightning's strategy for several processes, without its announcements from processes that it started itself."""

    def setup_environment(self) -> None:
        """Prepare a process, and its end: Gloo's threads may abort one that ends while they are still there."""
        silence_lightning()
        super().setup_environment()
        # Lightning does the same for NCCL.
        atexit.register(_leave_the_others)


def _leave_the_others() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


class _Gathered(_BatchNorm):
    """Batch norm over the clips of all processes, on any backend; torch's own needs a GPU.

    All processes must have equally many clips of the same length.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (batch, channels, steps), or more axes of steps."""
        processes = torch.distributed.get_world_size()
        if not self.training or processes == 1:
            return super().forward(input)
        axes = (0, *range(2, input.ndim))
        of_channels = (-1, *[1] * (input.ndim - 2))
        wide = input.float()
        mean = _SumOverProcesses.apply(wide.mean(dim=axes)) / processes
        centred = wide - mean.reshape(of_channels)
        variance = _SumOverProcesses.apply(centred.square().mean(dim=axes)) / processes
        follow(self, mean.detach(), variance.detach(), processes * input.numel() // input.shape[1])
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return torch.addcmul(self.bias.reshape(of_channels), centred, scale.reshape(of_channels)).to(input.dtype)


class GatheredBatchNorm1d(_Gathered, nn.BatchNorm1d):
    """Over steps."""


class GatheredBatchNorm2d(_Gathered, nn.BatchNorm2d):
    """Over rows and steps."""


GATHERED: Mapping[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm1d: GatheredBatchNorm1d,
    nn.BatchNorm2d: GatheredBatchNorm2d,
}


class GatheredBatchNorms(LayerSync):
    """Make every batch norm of a network look at all processes' clips, for the time of a training."""

    def apply(self, model: nn.Module) -> nn.Module:
        """Begin."""
        return _become(model, GATHERED)

    def revert(self, model: nn.Module) -> nn.Module:
        """End."""
        return _become(model, {gathered: own for own, gathered in GATHERED.items()})


def gathered(values: Tensor) -> Tensor:
    """Join (batch, ...) of all processes, in their order; all must have equally many.

    A loss of the whole, which every process computes for itself, gives the gradients that one process would get, once
    they are averaged over the processes.
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return values
    places = values.new_zeros((torch.distributed.get_world_size(), *values.shape))
    places[torch.distributed.get_rank()] = values
    joined: Tensor = _SumOverProcesses.apply(places)
    return joined.flatten(0, 1)


class _SumOverProcesses(torch.autograd.Function):
    """Sum a tensor over all processes; since all use the sum, a gradient is the sum of theirs."""

    @staticmethod
    def forward(context: FunctionCtx, values: Tensor) -> Tensor:
        total = values.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(context: FunctionCtx, gradient: Tensor) -> Tensor:
        total = gradient.contiguous().clone()
        torch.distributed.all_reduce(total)
        return total


def _become(model: nn.Module, others: Mapping[type[nn.Module], type[nn.Module]]) -> nn.Module:
    for module in model.modules():
        if type(module) in others:
            module.__class__ = others[type(module)]
    return model


def _environment(launch: Launch | None, devices: int) -> ClusterEnvironment:
    """Say on purpose who started the processes; Lightning would guess it from what variables there are."""
    if launch is None:
        return OneMachine()
    if launch.name == "torchrun":
        return TorchElasticEnvironment()
    if launch.name == "srun":
        # Lightning asks for it, though `srun -n` gives as many tasks without.
        os.environ.setdefault("SLURM_NTASKS_PER_NODE", str(devices))
        return SLURMEnvironment()
    environment = LSFEnvironment if launch.name == "jsrun" else MPIEnvironment
    if not environment.detect():
        raise SettingsError(
            f"{launch.name} started {launch.processes} processes, which cannot find each other without "
            + ("LSF's variables (LSB_JOBID …)" if launch.name == "jsrun" else "mpi4py (`pip install mpi4py`)")
            + "; or start them with torchrun"
        )
    return environment()
