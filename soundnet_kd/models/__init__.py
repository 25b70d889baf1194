"""Networks only, each bound to the preprocessing that its weights need."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from soundnet_kd.models.architectures import ARCHITECTURES as ARCHITECTURES
    from soundnet_kd.models.architectures import build_student as build_student
    from soundnet_kd.models.checkpoint import CLASSIFIER_FILE as CLASSIFIER_FILE
    from soundnet_kd.models.checkpoint import STUDENT_FILE as STUDENT_FILE
    from soundnet_kd.models.checkpoint import read_network as read_network
    from soundnet_kd.models.checkpoint import read_student as read_student
    from soundnet_kd.models.checkpoint import write_network as write_network
    from soundnet_kd.models.device import choose_device as choose_device
    from soundnet_kd.models.finetuned import FinetunedNetwork as FinetunedNetwork
    from soundnet_kd.models.log_mel_cnn import LogMelCNN as LogMelCNN
    from soundnet_kd.models.network import Network as Network
    from soundnet_kd.models.network import state_sha256 as state_sha256
    from soundnet_kd.models.preprocessing import ClipPreprocessing as ClipPreprocessing
    from soundnet_kd.models.preprocessing import Preprocessing as Preprocessing
    from soundnet_kd.models.soundnet import SoundNet as SoundNet
    from soundnet_kd.models.soundnet import SoundNet5 as SoundNet5
    from soundnet_kd.models.soundnet import SoundNet8 as SoundNet8
    from soundnet_kd.models.student import Student as Student

# Each is imported when it is first used: receptive fields, which are only numbers, then come without PyTorch.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "architectures": ["ARCHITECTURES", "build_student"],
        "checkpoint": ["CLASSIFIER_FILE", "STUDENT_FILE", "read_network", "read_student", "write_network"],
        "device": ["choose_device"],
        "finetuned": ["FinetunedNetwork"],
        "log_mel_cnn": ["LogMelCNN"],
        "network": ["Network", "state_sha256"],
        "preprocessing": ["ClipPreprocessing", "Preprocessing"],
        "soundnet": ["SoundNet", "SoundNet5", "SoundNet8"],
        "student": ["Student"],
    },
)
