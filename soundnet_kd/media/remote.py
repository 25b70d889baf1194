"""Objects under an address that fsspec knows (s3://, gs://, http://, memory://): what there is, and its bytes.

What fails on the way (a 503, a connection that breaks off, fewer bytes than asked for) is tried again with growing
pauses, so often and no oftener; then it is that object's failure. Where the store lets nobody in, or has no such
bucket, the run ends: every other object would fail in the same way.
"""

import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from soundnet_kd.errors import GivenUpError, MissingError, SettingsError, SoundNetKDError, nearest, one_line
from soundnet_kd.media.stored import CHUNK_BYTES, StoredMedia

TRIES = 5
FIRST_PAUSE_SECONDS = 0.5
"""Each following pause is twice as long: 7.5 s in all."""
SILENT_SECONDS = 60
"""A server that sends nothing for so long is asked again."""
WEB = ("http", "https")
"""Addresses whose hosts differ: that one of them lets nobody in says nothing about the others."""

_EXTRAS = {"s3": "s3", "s3a": "s3"}
_VERSIONS = ("ETag", "etag", "md5Hash", "generation", "Last-Modified", "LastModified", "mtime", "created", "updated")
_DENIED = ("NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError", "RefreshError", "TokenRetrieval")
_WILDCARD = re.compile(r"[*\[]")
_PASSING_ANSWERS = (408, 409, 425, 429)
"""Of the answers 4xx, those that another try may change; 409 is S3's to requests that meet."""
_PASSING_CODES = ("RequestTimeout", "IncompleteBody", "BadDigest")
"""Of S3's answers 400, those of what did not arrive whole or in time."""

log = logging.getLogger(__name__)
Answer = TypeVar("Answer")


class _BroughtTooMuchError(Exception):
    """A server sends a whole file to who asks for a part of it."""


def protocol_of(address: str) -> str:
    """Return what an address begins with, such as s3."""
    return address.partition("://")[0].lower()


def file_system(address: str) -> tuple[Any, str]:
    """Return fsspec's file system of an address, and the path in it.

    Raises
    ------
    SettingsError
        If fsspec knows no such protocol, or lacks the library for it.
    """
    import fsspec
    from fsspec.registry import known_implementations

    protocol = protocol_of(address)
    options: dict[str, Any] = {}
    if protocol in WEB:
        from aiohttp import ClientTimeout

        # Otherwise five minutes are all that a file may take. Proxies and .netrc, as other programs have them.
        waits = ClientTimeout(total=None, sock_connect=SILENT_SECONDS, sock_read=SILENT_SECONDS)
        options = {"client_kwargs": {"trust_env": True, "timeout": waits}}
    elif protocol in _EXTRAS and "config_kwargs" not in fsspec.config.conf.get(protocol, {}):
        # Tries are counted here; several layers of them multiply.
        options = {"config_kwargs": {"retries": {"total_max_attempts": 1}}}
    try:
        system, path = fsspec.core.url_to_fs(address, **options)
    except ImportError as error:
        extra = _EXTRAS.get(protocol)
        cure = f'pip install "soundnet-kd[{extra}]"' if extra else one_line(error)
        raise SettingsError(f"{address} cannot be opened without the library for {protocol}:// ({cure})") from error
    except ValueError as error:
        hint = "" if protocol in known_implementations else nearest(protocol, sorted(known_implementations), 12)
        raise SettingsError(f"{address} is no address that can be opened ({one_line(error)}){hint}") from error
    if protocol in _EXTRAS:
        # s3fs has tries of its own beside those of its library.
        system.retries = 1
    return system, path


def describe_object(source: StoredMedia) -> StoredMedia:
    """Return an object with its size, where the store says it, and its version.

    Raises
    ------
    GivenUpError
        If it is not there, or the store does not answer.
    SettingsError
        If the store lets nobody in.
    """
    system, path = file_system(source.container)
    return with_facts(source, tried(source.container, lambda: system.info(path)))


def with_facts(source: StoredMedia, info: Mapping[str, Any]) -> StoredMedia:
    """Return an object with what fsspec tells of it."""
    version = next((str(info[key]) for key in _VERSIONS if info.get(key)), "")
    size = info.get("size")
    return replace(source, size=-1 if size is None else int(size), version=version)


def list_objects(address: str, may_miss: bool = False) -> dict[str, StoredMedia]:
    """Return the objects below an address, or that fit the wildcards in it, by their names relative to it.

    Parameters
    ----------
    address : str
    may_miss : bool
        Whether there may be no such place, where there is nothing.

    Raises
    ------
    SettingsError
        If there is no such place, or it lets nobody in.
    """
    system, path = file_system(address)
    protocol = protocol_of(address)
    wild = has_wildcard(address)
    base = folder_before_wildcards(path)
    found: Mapping[str, Any] = {}
    with ends_the_run():
        system.invalidate_cache()
        try:
            # Without these, who lets nobody in, or is not there, seems to hold nothing.
            if protocol in WEB:
                tried(address, lambda: system.ls(f"{base.rstrip('/')}/", detail=False))
            elif wild and base.strip("/"):
                tried(address, lambda: system.info(base))
            found = tried(address, lambda: (system.glob if wild else system.find)(path, detail=True))
        except MissingError:
            if not may_miss:
                raise
    objects = {}
    for name, info in sorted(found.items()):
        if info.get("type") == "directory" or name.endswith("/"):
            continue
        full = name if "://" in name else f"{protocol}://{name.lstrip('/')}"
        below = name.removeprefix(base.rstrip("/")).lstrip("/")
        objects[below or full.rpartition("/")[2]] = with_facts(StoredMedia(full), info)
    return objects


def is_object(address: str) -> bool:
    """Return whether an address is one object, not a folder.

    Raises
    ------
    SettingsError
        If there is nothing, or it lets nobody in.
    """
    if has_wildcard(address):
        return False
    if protocol_of(address) in WEB:
        # Web servers know no folders; a page that lists files has such an address.
        last = address.partition("?")[0].rpartition("/")[2]
        return "." in last
    system, path = file_system(address)
    with ends_the_run():
        return bool(tried(address, lambda: system.info(path))["type"] == "file")


def has_wildcard(text: str) -> bool:
    """Return whether a path stands for several, by a wildcard."""
    return _WILDCARD.search(text) is not None


def folder_before_wildcards(text: str) -> str:
    """Return the part of a path that has none."""
    found = _WILDCARD.search(text)
    return text if found is None else text[: found.start()].rpartition("/")[0]


def read_object(address: str, start: int, count: int) -> bytes:
    """Return a part of an object.

    Raises
    ------
    GivenUpError
        If it cannot be had, or the server sends no parts of files.
    SettingsError
        If the store lets nobody in.
    """
    if count <= 0:
        return b""
    system, path = file_system(address)
    try:
        return tried(address, lambda: _part(system, path, start, count))
    except _BroughtTooMuchError as error:
        raise GivenUpError(
            f"{address}: its server does not send parts of files, which a tar needs; copy it to a disk or another store"
        ) from error


def _part(system: Any, path: str, start: int, count: int) -> bytes:
    content = bytes(system.cat_file(path, start=start, end=start + count))
    if len(content) > count:
        raise _BroughtTooMuchError
    if len(content) < count:
        raise OSError(f"{len(content)} of {count} bytes came")
    return content


def fetch_object(source: StoredMedia, copy: Path) -> None:
    """Copy a whole object to a file.

    Raises
    ------
    GivenUpError
        If it cannot be had whole, or changed meanwhile.
    SettingsError
        If the store lets nobody in.
    """
    from soundnet_kd.media.container import require_time

    source = source if source.size >= 0 else describe_object(source)
    system, path = file_system(source.container)
    with copy.open("wb") as file:
        try:
            for start in range(0, source.size, CHUNK_BYTES):
                require_time(source.name)
                count = min(CHUNK_BYTES, source.size - start)
                file.write(tried(source.container, lambda s=start, c=count: _part(system, path, s, c)))  # type: ignore[misc]
            is_whole = source.size >= 0
        except _BroughtTooMuchError:
            is_whole = False
    if not is_whole:
        tried(source.container, lambda: _fetch_in_one(system, path, source, copy))
    elif source.size > CHUNK_BYTES and describe_object(source).version != source.version:
        raise GivenUpError(f"{source.address} changed while it was fetched; run the same command again")


def _fetch_in_one(system: Any, path: str, source: StoredMedia, copy: Path) -> None:
    system.get_file(path, str(copy))
    if source.size >= 0 and copy.stat().st_size != source.size:
        raise OSError(f"{copy.stat().st_size} of {source.size} bytes came")


def tried(address: str, action: Callable[[], Answer], done: str = "fetched") -> Answer:
    """Do something with an object, again where that may help.

    Parameters
    ----------
    address : str
    action : callable
    done : str
        What the action does to it, for the error's message.

    Raises
    ------
    MissingError
        If there is no such object.
    GivenUpError
        If it failed every time.
    SettingsError
        If the store lets nobody in, or cannot do this.
    """
    pause = FIRST_PAUSE_SECONDS
    for left in reversed(range(TRIES)):
        try:
            return action()
        except (SoundNetKDError, _BroughtTooMuchError, FileExistsError):
            raise
        except NotImplementedError as error:
            raise SettingsError(
                f"{address} cannot be {done}: {protocol_of(address)}:// is for reading; give a path, or s3://, gs:// …"
            ) from error
        except Exception as error:
            final = _explain(address, error, done)
            if final is None and not left:
                final = GivenUpError(
                    f"{address} could not be {done} in {TRIES} tries ({_words(error)}); run the same command again"
                )
            if final is not None:
                raise final from error
            log.debug("%s: %s; trying again in %g s", address, _words(error), pause)
            time.sleep(pause)
            pause *= 2
    raise AssertionError("unreachable")


def _explain(address: str, error: Exception, done: str) -> SoundNetKDError | None:
    """Return the error of what no other try can change; None for all else."""
    chain = causes_of(error)
    answers = [status for each in chain if (status := answer_of(each))]
    names = {type(each).__name__ for each in chain}
    protocol = protocol_of(address)
    if isinstance(error, PermissionError) or names & set(_DENIED) or {401, 403} & set(answers):
        told = f"{address}: its server lets nobody in with these credentials ({_words(error)})"
        if protocol in WEB:
            return GivenUpError(f"{told}; put a name and a password into .netrc")
        return SettingsError(f"{told}; check them and the rights of the bucket, such as by `aws s3 ls` for s3://")
    if isinstance(error, FileNotFoundError) and "bucket" in str(error).lower() and protocol not in WEB:
        return SettingsError(f"{address}: there is no such bucket ({_words(error)}); check its name")
    failed = next((answer for answer in answers if answer >= 400), 0)
    is_missing = isinstance(error, FileNotFoundError) and (protocol not in WEB or len(chain) == 1)
    if is_missing or failed in (404, 410):
        return MissingError(f"{address} is not there (any more); check the address")
    may_pass = failed in _PASSING_ANSWERS or any(map(_passes, chain))
    if 400 <= failed < 500 and not may_pass:
        return GivenUpError(f"{address} cannot be {done} ({_words(error)}); check the address")
    return None


def causes_of(error: BaseException) -> list[BaseException]:
    """Return an error, and what it came from."""
    chain = [error]
    while (cause := chain[-1].__cause__) is not None and cause not in chain:
        chain.append(cause)
    return chain


def _passes(error: BaseException) -> bool:
    response = getattr(error, "response", None)
    return isinstance(response, Mapping) and response.get("Error", {}).get("Code") in _PASSING_CODES


def answer_of(error: BaseException) -> int:
    """Return the status of a server's answer; 0 where there was none."""
    if hasattr(error, "response") and isinstance(error.response, Mapping):
        # botocore's.
        return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    # aiohttp's, and gcsfs's; what aiohttp calls a code may be about how an answer is written.
    found = getattr(error, "code" if type(error).__name__ == "HttpError" else "status", 0)
    return found if isinstance(found, int) else 0


def _words(error: BaseException) -> str:
    """Return an error's own words, or those of its cause, without an address, in which there may be a password."""
    cause = error.__cause__ if isinstance(error, FileNotFoundError) and error.__cause__ is not None else error
    message = getattr(cause, "message", None)
    status = getattr(cause, "status", None)
    if isinstance(message, str) and isinstance(status, int):
        return f"HTTP {status} {message}".strip()
    return one_line(cause, 120)


@contextmanager
def ends_the_run() -> Iterator[None]:
    """Turn the failure of one object into that of the run: without the list there is nothing to do."""
    try:
        yield
    except GivenUpError as error:
        raise SettingsError(str(error)) from error
