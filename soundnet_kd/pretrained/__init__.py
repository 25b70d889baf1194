"""Networks that are already trained: the registry of those that others publish, and students from files."""

from soundnet_kd.pretrained.fetching import check_file, fetch
from soundnet_kd.pretrained.registry import PretrainedWeights, registry
from soundnet_kd.pretrained.students import load_student

__all__ = ["PretrainedWeights", "check_file", "fetch", "load_student", "registry"]
