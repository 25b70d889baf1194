"""Where a network runs."""

import torch

from soundnet_kd.errors import SettingsError


def choose_device(name: str) -> torch.device:
    """Give the device of a name.

    Parameters
    ----------
    name : str
        auto (the first accelerator that there is, else the processor), or a device of torch's: cpu, cuda, cuda:1, mps.

    Raises
    ------
    SettingsError
        If this machine or torch has no such device.
    """
    if name == "auto":
        return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise SettingsError(
            f"device {name!r} cannot be used here ({reason}); try --device auto or --device cpu"
        ) from error
    return device
