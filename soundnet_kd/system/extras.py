"""Libraries that are not installed with this package, but by one of its extras."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType

from soundnet_kd.errors import SettingsError


def import_extra(library: str, extra: str) -> ModuleType:
    """Import a library of an extra.

    Parameters
    ----------
    library : str
        Its name as Python imports it.
    extra : str
        As pyproject.toml calls the extra.

    Raises
    ------
    SettingsError
        If it is not installed; the message says how it is.
    """
    try:
        with unreported():
            return import_module(library)
    except ImportError as error:
        raise SettingsError(
            f'{library} is not installed, or cannot be loaded ({error}); `pip install "soundnet-kd[{extra}]"` '
            "installs it"
        ) from error


@contextmanager
def unreported() -> Iterator[None]:
    """Keep OpenVINO from reporting to its makers, within the block, that it is used.

    When it is imported and when it converts it does so, and makes itself a name in the home directory, unless the user
    has declined in a file there or it runs in a continuous integration.
    """
    before = os.environ.get("CI")
    os.environ["CI"] = "true"
    try:
        yield
    finally:
        if before is None:
            del os.environ["CI"]
        else:
            os.environ["CI"] = before
