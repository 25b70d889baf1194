"""The cache and the mirror that the tests of published weights have."""

from tests.pretrained.conftest import cache, mirror, pip, resnet

__all__ = ["cache", "mirror", "pip", "resnet"]
