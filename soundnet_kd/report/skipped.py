"""What of a run cannot be shown, with the reason: one broken file takes no more than itself from the page."""

import csv
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from soundnet_kd.errors import SoundNetKDError

Asked = ParamSpec("Asked")
Found = TypeVar("Found")


class Skipped(dict[str, str]):
    """The reason for each output that was left out, by its name."""

    def read(
        self, name: str, function: Callable[Asked, Found], *values: Asked.args, **options: Asked.kwargs
    ) -> Found | None:
        """Call a function that reads an output, or note why that cannot be read and give None."""
        try:
            return function(*values, **options)
        # What a file that somebody has damaged or written by hand can provoke.
        except (SoundNetKDError, OSError, LookupError, TypeError, ValueError, csv.Error) as error:
            self[name] = " ".join(str(error).split()) or type(error).__name__
            return None
