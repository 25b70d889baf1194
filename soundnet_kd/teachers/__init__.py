"""Image networks classify the frames of videos; their distributions are the student's targets."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from soundnet_kd.teachers.labelling import label_videos as label_videos
    from soundnet_kd.teachers.loading import load_teacher as load_teacher
    from soundnet_kd.teachers.result import TeachResult as TeachResult
    from soundnet_kd.teachers.teacher import Teacher as Teacher
    from soundnet_kd.teachers.teacher import write_teacher as write_teacher

# Each is imported when it is first used: what a teacher's file says comes without torchvision.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "labelling": ["label_videos"],
        "result": ["TeachResult"],
        "loading": ["load_teacher"],
        "teacher": ["Teacher", "write_teacher"],
    },
)
