"""Networks only, each bound to the preprocessing that its weights need."""

from soundnet_kd.models.device import choose_device
from soundnet_kd.models.preprocessing import ClipPreprocessing, Preprocessing
from soundnet_kd.models.soundnet import ARCHITECTURES, SoundNet, SoundNet5, SoundNet8, state_sha256
from soundnet_kd.models.student_file import STUDENT_FILE, read_student, write_student

__all__ = [
    "ARCHITECTURES",
    "STUDENT_FILE",
    "ClipPreprocessing",
    "Preprocessing",
    "SoundNet",
    "SoundNet5",
    "SoundNet8",
    "choose_device",
    "read_student",
    "state_sha256",
    "write_student",
]
