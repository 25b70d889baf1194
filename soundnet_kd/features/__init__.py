"""The layers of a network for every sound of a data set, kept in one HDF5 file, and its answers to a sound."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from soundnet_kd.features.cache import FeatureCache as FeatureCache

# It is imported when it is first used, since other modules of the room need no HDF5.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "cache": ["FeatureCache"],
    },
)
