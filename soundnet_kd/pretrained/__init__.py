"""Networks that are already trained: the registry of those that others publish, and students by name and from files."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from soundnet_kd.pretrained.fetching import fetch as fetch
    from soundnet_kd.pretrained.registry import PretrainedStudent as PretrainedStudent
    from soundnet_kd.pretrained.registry import PretrainedWeights as PretrainedWeights
    from soundnet_kd.pretrained.registry import read_registry as read_registry
    from soundnet_kd.pretrained.registry import student_registry as student_registry
    from soundnet_kd.pretrained.registry import teacher_registry as teacher_registry
    from soundnet_kd.pretrained.students import load_network as load_network
    from soundnet_kd.pretrained.students import load_student as load_student
    from soundnet_kd.pretrained.verification import check_file as check_file

# Each is imported when it is first used: the registry comes without PyTorch.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "fetching": ["fetch"],
        "registry": ["PretrainedStudent", "PretrainedWeights", "read_registry", "student_registry", "teacher_registry"],
        "students": ["load_network", "load_student"],
        "verification": ["check_file"],
    },
)
