"""Networks only, each bound to the preprocessing that its weights need."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from soundnet_kd.models.checkpoint import CLASSIFIER_FILE as CLASSIFIER_FILE
    from soundnet_kd.models.checkpoint import STUDENT_FILE as STUDENT_FILE
    from soundnet_kd.models.checkpoint import read_network as read_network
    from soundnet_kd.models.checkpoint import read_student as read_student
    from soundnet_kd.models.checkpoint import write_network as write_network
    from soundnet_kd.models.device import choose_device as choose_device
    from soundnet_kd.models.finetuned import FinetunedNetwork as FinetunedNetwork
    from soundnet_kd.models.network import Network as Network
    from soundnet_kd.models.network import state_sha256 as state_sha256
    from soundnet_kd.models.preprocessing import ClipPreprocessing as ClipPreprocessing
    from soundnet_kd.models.preprocessing import Preprocessing as Preprocessing
    from soundnet_kd.models.soundnet import ARCHITECTURES as ARCHITECTURES
    from soundnet_kd.models.soundnet import SoundNet as SoundNet
    from soundnet_kd.models.soundnet import SoundNet5 as SoundNet5
    from soundnet_kd.models.soundnet import SoundNet8 as SoundNet8

_HOMES = {
    "ARCHITECTURES": "soundnet",
    "CLASSIFIER_FILE": "checkpoint",
    "STUDENT_FILE": "checkpoint",
    "ClipPreprocessing": "preprocessing",
    "FinetunedNetwork": "finetuned",
    "Network": "network",
    "Preprocessing": "preprocessing",
    "SoundNet": "soundnet",
    "SoundNet5": "soundnet",
    "SoundNet8": "soundnet",
    "choose_device": "device",
    "read_network": "checkpoint",
    "read_student": "checkpoint",
    "state_sha256": "network",
    "write_network": "checkpoint",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    """Import a name when it is first used: receptive fields, which are only numbers, then come without PyTorch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
