import subprocess
import sys

import pytest

ROOMS = ("analysis", "transfer", "report")


@pytest.mark.parametrize("room", ROOMS)
def test_no_module_of_these_rooms_loads_torch(room: str) -> None:
    """The contract on imports does not see what a package's `__init__` imports on the way to its modules."""
    program = f"""
import importlib, pkgutil, sys
import soundnet_kd.{room} as room
for module in pkgutil.walk_packages(room.__path__, "soundnet_kd.{room}."):
    importlib.import_module(module.name)
    assert "torch" not in sys.modules, module.name
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
