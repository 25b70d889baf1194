"""Libraries that are not installed with this package, but by one of its extras."""

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
        return import_module(library)
    except ImportError as error:
        raise SettingsError(
            f'{library} is not installed, or cannot be loaded ({error}); `pip install "soundnet-kd[{extra}]"` does'
        ) from error
