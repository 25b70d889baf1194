"""Fixtures that several rooms share."""

import os
from pathlib import Path

import pytest

REAL_DATA = "SOUNDNET_KD_DATA"
REQUIRE_REAL = "SOUNDNET_KD_REQUIRE_REAL"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real data; the test is skipped without it, or fails where CI demands it."""
    folder = os.environ.get(REAL_DATA)
    if folder:
        return Path(folder).resolve(strict=True)
    if os.environ.get(REQUIRE_REAL) == "1":
        pytest.fail(f"{REQUIRE_REAL}=1 but {REAL_DATA} does not point at the real data")
    pytest.skip(f"set {REAL_DATA} to the folder of real data")
