"""The layers of a network for every sound of a data set, kept in one HDF5 file, and its answers to a sound."""

from soundnet_kd.features.cache import FeatureCache

__all__ = ["FeatureCache"]
