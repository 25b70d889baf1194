"""Distil a sound network from unlabeled video, and use its layers as features for any sound task."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from soundnet_kd.analysis import neuron_statistics as neuron_statistics
    from soundnet_kd.commands.export import export as export
    from soundnet_kd.commands.extract import extract as extract
    from soundnet_kd.commands.predict import predict as predict
    from soundnet_kd.errors import SoundNetKDError as SoundNetKDError
    from soundnet_kd.features import FeatureCache as FeatureCache
    from soundnet_kd.models import SoundNet5 as SoundNet5
    from soundnet_kd.models import SoundNet8 as SoundNet8
    from soundnet_kd.pretrained import load_network as load_network
    from soundnet_kd.pretrained import load_student as load_student
    from soundnet_kd.transfer import cross_validate as cross_validate

# Each is imported when it is first used, so that `import soundnet_kd` costs nothing.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "analysis": ["neuron_statistics"],
        "commands.export": ["export"],
        "commands.extract": ["extract"],
        "commands.predict": ["predict"],
        "errors": ["SoundNetKDError"],
        "features": ["FeatureCache"],
        "models": ["SoundNet5", "SoundNet8"],
        "pretrained": ["load_network", "load_student"],
        "transfer": ["cross_validate"],
    },
)
