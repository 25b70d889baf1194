"""Networks only, each bound to the preprocessing that its weights need."""

from soundnet_kd.models.checkpoint import CLASSIFIER_FILE, STUDENT_FILE, read_network, read_student, write_network
from soundnet_kd.models.device import choose_device
from soundnet_kd.models.finetuned import FinetunedNetwork
from soundnet_kd.models.network import Network, state_sha256
from soundnet_kd.models.preprocessing import ClipPreprocessing, Preprocessing
from soundnet_kd.models.soundnet import ARCHITECTURES, SoundNet, SoundNet5, SoundNet8

__all__ = [
    "ARCHITECTURES",
    "CLASSIFIER_FILE",
    "STUDENT_FILE",
    "ClipPreprocessing",
    "FinetunedNetwork",
    "Network",
    "Preprocessing",
    "SoundNet",
    "SoundNet5",
    "SoundNet8",
    "choose_device",
    "read_network",
    "read_student",
    "state_sha256",
    "write_network",
]
