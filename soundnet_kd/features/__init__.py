"""The layers of a student for every sound of a data set, kept in one HDF5 file."""

from soundnet_kd.features.cache import FeatureCache

__all__ = ["FeatureCache"]
