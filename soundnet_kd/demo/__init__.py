"""A demonstration world: made-up videos, frames and sounds that belong together, and teachers trained on them."""

from soundnet_kd.demo.frame_teacher import demo_teacher
from soundnet_kd.demo.make import demo_world

__all__ = ["demo_teacher", "demo_world"]
