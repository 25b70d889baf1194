"""Distil a sound network from unlabeled video, and use its layers as features for any sound task."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from soundnet_kd.analysis import neuron_statistics as neuron_statistics
    from soundnet_kd.commands.extract import extract as extract
    from soundnet_kd.errors import SoundNetKDError as SoundNetKDError
    from soundnet_kd.features import FeatureCache as FeatureCache
    from soundnet_kd.models import SoundNet5 as SoundNet5
    from soundnet_kd.models import SoundNet8 as SoundNet8
    from soundnet_kd.pretrained import load_network as load_network
    from soundnet_kd.pretrained import load_student as load_student
    from soundnet_kd.transfer import cross_validate as cross_validate

_HOMES = {
    "FeatureCache": "features",
    "SoundNet5": "models",
    "SoundNet8": "models",
    "SoundNetKDError": "errors",
    "cross_validate": "transfer",
    "extract": "commands.extract",
    "load_network": "pretrained",
    "load_student": "pretrained",
    "neuron_statistics": "analysis",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `import soundnet_kd` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
