"""How the user's pip is set up: its configuration files and environment variables, read without pip.

Environments without pip (uv makes such) have its configuration files nevertheless; where those name no index, uv's
variables are asked.
"""

import configparser
import locale
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import platformdirs

from soundnet_kd.errors import SettingsError, one_line
from soundnet_kd.system.cache_folders import home_folder

SECTIONS = ("global", "install")
"""Sections of the files that `pip install` reads; the later one wins."""
RETRIES = 2
"""Fewer than pip's own default, since a download goes on where it was when the command is run again."""
TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class PipSettings:
    """Where pip looks for packages, and how it gets there; as `pip install --help` explains them.

    Attributes
    ----------
    index_url : str, optional
        [default: the public index]
    extra_index_urls, find_links : tuple of str
        Addresses or paths.
    no_index : bool
        Ask no index, only `find_links`.
    proxy : str, optional
    cert : str, optional
        File or folder of certificates that are trusted besides the system's.
    client_cert : str, optional
    trusted_hosts : tuple of str
        Hosts, or hosts with a port, whose certificates are not checked.
    timeout_seconds : float
    retries : int
    """

    index_url: str | None = field(default=None, repr=False)
    extra_index_urls: tuple[str, ...] = field(default=(), repr=False)
    find_links: tuple[str, ...] = field(default=(), repr=False)
    no_index: bool = False
    proxy: str | None = field(default=None, repr=False)
    cert: str | None = None
    client_cert: str | None = None
    trusted_hosts: tuple[str, ...] = ()
    timeout_seconds: float = TIMEOUT_SECONDS
    retries: int = RETRIES


def read_pip_settings() -> PipSettings:
    """Read how the user's pip is set up.

    Raises
    ------
    SettingsError
        If pip could not read it either.
    """
    found = _merged()
    given = {
        "index_url": found.get("index-url") or next(iter(_of_uv("UV_DEFAULT_INDEX", "UV_INDEX_URL")), None),
        "extra_index_urls": tuple(found.get("extra-index-url", "").split()) or _of_uv("UV_INDEX", "UV_EXTRA_INDEX_URL"),
        "find_links": tuple(found.get("find-links", "").split()),
        "no_index": _truth(found, "no-index"),
        "proxy": found.get("proxy"),
        "cert": found.get("cert"),
        "client_cert": found.get("client-cert"),
        "trusted_hosts": tuple(found.get("trusted-host", "").split()),
        "timeout_seconds": _number(found, "timeout"),
        "retries": _number(found, "retries"),
    }
    settings = PipSettings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    addresses = (settings.index_url, *settings.extra_index_urls, *settings.find_links, settings.proxy)
    for address in filter(None, addresses):
        try:
            urlsplit(address)
        except ValueError as error:
            # What is wrong with it may be told with its password.
            raise SettingsError("pip is set up with an invalid address; see `pip config list`") from error
    return settings


def _merged() -> dict[str, str]:
    """Return pip's settings by the names of its flags; an empty value is none, as pip has it."""
    by_section: dict[str, dict[str, str]] = {section: {} for section in SECTIONS}
    for file in _files():
        for section, values in _read(file).items():
            if section in by_section:
                by_section[section] |= values
    variables = {
        _flag(name.removeprefix("PIP_")): value for name, value in os.environ.items() if name.startswith("PIP_")
    }
    merged: dict[str, str] = {}
    for values in (*by_section.values(), variables):
        merged |= {name: value for name, value in values.items() if value}
    return merged


def _files() -> Iterator[Path]:
    """Return the places of pip's configuration files; the later ones win."""
    named = os.environ.get("PIP_CONFIG_FILE")
    if named == os.devnull:
        return
    name = "pip.ini" if sys.platform == "win32" else "pip.conf"
    for folder in _system_folders():
        yield folder / name
    if not (named and Path(named).exists()):
        yield _home() / ("pip" if sys.platform == "win32" else ".pip") / name
        yield _user_folder() / name
    yield Path(sys.prefix) / name
    if named:
        yield Path(named)


def _system_folders() -> list[Path]:
    if sys.platform == "darwin":
        return [Path(platformdirs.site_data_dir("pip", appauthor=False))]
    folders = platformdirs.site_config_dir("pip", appauthor=False, multipath=sys.platform != "win32")
    if sys.platform == "win32":
        return [Path(folders)]
    return [*map(Path, folders.split(os.pathsep)), Path("/etc")]


def _user_folder() -> Path:
    if sys.platform == "darwin":
        folder = Path(platformdirs.user_data_dir("pip", appauthor=False))
        return folder if folder.is_dir() else _home() / ".config" / "pip"
    return Path(platformdirs.user_config_dir("pip", appauthor=False, roaming=True))


def _home() -> Path:
    return home_folder() or Path("~")


def _read(file: Path) -> dict[str, dict[str, str]]:
    parser = configparser.RawConfigParser()
    try:
        parser.read(file, encoding=locale.getencoding())
    except (configparser.Error, UnicodeDecodeError) as error:
        raise SettingsError(
            f"pip's configuration file {file} cannot be read ({one_line(error)}); correct it, or let PIP_CONFIG_FILE "
            f"be {os.devnull} to do without"
        ) from error
    return {section: {_flag(name): value for name, value in parser.items(section)} for section in parser.sections()}


def _flag(name: str) -> str:
    """Return a setting's name as pip's flag has it; two of the flags have an older name as well."""
    flag = name.lower().replace("_", "-").removeprefix("--")
    return {"default-timeout": "timeout", "pypi-url": "index-url"}.get(flag, flag)


def _truth(found: Mapping[str, str], name: str) -> bool:
    value = found.get(name, "no").lower()
    if value in ("y", "yes", "t", "true", "on", "1"):
        return True
    if value in ("n", "no", "f", "false", "off", "0"):
        return False
    raise SettingsError(f"pip's setting {name} is {value!r}; it has to be yes or no")


def _number(found: Mapping[str, str], name: str) -> float | int | None:
    value = found.get(name)
    try:
        return None if value is None else int(value) if name == "retries" else float(value)
    except ValueError as error:
        raise SettingsError(f"pip's setting {name} is {value!r}; it has to be a number") from error


def _of_uv(*variables: str) -> tuple[str, ...]:
    """Return the addresses that the first of uv's variables which is set has; each may be NAME=ADDRESS there."""
    value = next((os.environ[name] for name in variables if os.environ.get(name)), "")
    return tuple(re.sub(r"^[\w.-]+=", "", each) for each in value.split())
