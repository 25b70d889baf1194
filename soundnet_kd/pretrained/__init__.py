"""Networks that are already trained: the registry of those that others publish, and students by name and from files."""

from soundnet_kd.pretrained.fetching import fetch
from soundnet_kd.pretrained.registry import (
    PretrainedStudent,
    PretrainedWeights,
    read_registry,
    student_registry,
    teacher_registry,
)
from soundnet_kd.pretrained.students import load_network, load_student
from soundnet_kd.pretrained.verification import check_file

__all__ = [
    "PretrainedStudent",
    "PretrainedWeights",
    "check_file",
    "fetch",
    "load_network",
    "load_student",
    "read_registry",
    "student_registry",
    "teacher_registry",
]
