"""The suites that have a door here: which extra installs each, and which versions were tried."""

import warnings
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from packaging.version import Version

from soundnet_kd.errors import SettingsError


@dataclass(frozen=True)
class Suite:
    """A suite that networks are compared in.

    Attributes
    ----------
    package : str
        As package indexes call it.
    extra : str
        That of pyproject.toml which installs it.
    tried : str
        The version that the door was tried with.
    """

    package: str
    extra: str
    tried: str

    def check(self) -> str:
        """Return the version that is installed.

        Warns of one that is near the tried one, but is not it.

        Raises
        ------
        SettingsError
            If it is not installed, or is of a version whose interface differs.
        """
        try:
            found = version(self.package)
        except PackageNotFoundError as error:
            cure = f'`pip install "soundnet-kd[{self.extra}]"` installs it'
            raise SettingsError(f"{self.package} is not installed; {cure}") from error
        if _series(found) == _series(self.tried):
            return found
        cure = f'`pip install "{self.package}=={self.tried}"`'
        message = f"{self.package} {found} is installed; this door was tried with {self.tried} ({cure})"
        if _generation(found) != _generation(self.tried):
            raise SettingsError(message)
        warnings.warn(message, stacklevel=3)
        return found


MTEB = Suite("mteb", "maeb", "2.26.24")
XARES = Suite("xares", "xares", "0.1.3")
HOPLITE = Suite("perch-hoplite", "hoplite", "1.0.2")


def _series(number: str) -> tuple[int, ...]:
    """Return the numbers of a version that a release of corrections does not change."""
    return Version(number).release[:2]


def _generation(number: str) -> tuple[int, ...]:
    """Return the numbers of a version whose change may change an interface: two before 1.0, one from then on."""
    release = Version(number).release
    return release[:1] if release[0] else release[:2]
