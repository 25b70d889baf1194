"""The cache and the mirror that the tests of published weights have."""

from tests.pretrained.conftest import cache, mirror, resnet

__all__ = ["cache", "mirror", "resnet"]
