"""Files that are put under an address, whole or not at all, and what fails on the way tried again."""

import logging
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from soundnet_kd.errors import MissingError
from soundnet_kd.media.remote import answer_of, causes_of, ends_the_run, file_system, protocol_of, tried

WHOLE_AT_ONCE = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "obs", "tos", "memory")
"""Stores in which a file that is not there to its end is not there at all."""
NOT_IMPLEMENTED, PRECONDITION_FAILED = 501, 412

log = logging.getLogger(__name__)


def put_object(file: str | Path, address: str) -> None:
    """Put a file under an address, in place of what is there; nobody sees half of it.

    Raises
    ------
    SettingsError
        If it could not be put there whole.
    """
    file = Path(file)
    size = file.stat().st_size
    system, path = file_system(address)

    def put(there: str) -> None:
        system.put_file(str(file), there)
        system.invalidate_cache()
        found = system.info(there)["size"]
        if found != size:
            raise OSError(f"{found} of {size} bytes arrived")

    with ends_the_run():
        tried(address, _whole(system, path, protocol_of(address), put), "written")


def create_object(content: bytes, address: str) -> bool:
    """Put something under an address unless something is there, and tell whether it was put there.

    Of several that do so at once one succeeds, where the store keeps them apart: S3 by If-None-Match, Google's by
    ifGenerationMatch. In others the last one's may be there in the end, so who has succeeded looks again.

    Raises
    ------
    SettingsError
        If it could not be put there.
    """
    system, path = file_system(address)
    protocol = protocol_of(address)

    def create() -> bool:
        if protocol in WHOLE_AT_ONCE:
            try:
                system.pipe_file(path, content, mode="create")
                return True
            except FileExistsError:
                return False
            except Exception as error:
                answers = set(map(answer_of, causes_of(error)))
                # s3fs knows what AWS says of a file that is there; other stores say it in other words.
                if PRECONDITION_FAILED in answers:
                    return False
                if not (isinstance(error, TypeError | NotImplementedError) or NOT_IMPLEMENTED in answers):
                    raise
        system.invalidate_cache()
        if system.exists(path):
            return False
        _whole(system, path, protocol, lambda there: system.pipe_file(there, content))()
        return True

    with ends_the_run():
        return tried(address, create, "written")


def remove_object(address: str) -> None:
    """Remove what is under an address, if anything is."""
    system, path = file_system(address)

    def remove() -> None:
        system.invalidate_cache()
        if system.exists(path):
            system.rm_file(path)

    with ends_the_run():
        tried(address, remove, "removed")


def set_object_aside(address: str, then: str) -> None:
    """Give an object of a run that is damaged another name, and warn, as `rename_damaged` does with a file.

    Parameters
    ----------
    address : str
    then : str
        What is done without it.
    """
    system, path = file_system(address)
    try:
        with ends_the_run():
            tried(address, lambda: system.mv(path, f"{path}.damaged"), "renamed")
    except MissingError:
        # Another job has found it too.
        return
    log.warning("%s is damaged and was set aside as %s.damaged; %s", address, address.rpartition("/")[2], then)


def _whole(system: Any, path: str, protocol: str, write: Callable[[str], object]) -> Callable[[], None]:
    """Return what writes a file whole: at once, or beside its place, where the store has half of a file to show."""

    def at_once() -> None:
        write(path)

    def beside() -> None:
        folder, _, name = path.rpartition("/")
        partial = f"{folder}/.partial-{secrets.token_hex(4)}-{name}"
        system.makedirs(folder, exist_ok=True)
        write(partial)
        try:
            system.mv(partial, path)
        except Exception:
            # Some move nothing to where something is.
            if not system.exists(path):
                raise
            system.rm_file(path)
            system.mv(partial, path)

    return at_once if protocol in WHOLE_AT_ONCE else beside
