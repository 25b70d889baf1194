"""Image networks classify the frames of videos; their distributions are the student's targets."""

from soundnet_kd.teachers.labelling import TeachResult, label_videos
from soundnet_kd.teachers.loading import load_teacher
from soundnet_kd.teachers.teacher import Teacher, write_teacher

__all__ = ["TeachResult", "Teacher", "label_videos", "load_teacher", "write_teacher"]
