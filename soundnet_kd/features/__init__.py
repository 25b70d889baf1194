"""The layers of a student for every sound of a data set, kept in one HDF5 file."""

from soundnet_kd.features.cache import FeatureCache
from soundnet_kd.features.extraction import ExtractResult, extract

__all__ = ["ExtractResult", "FeatureCache", "extract"]
