"""Outputs that cannot be shown, with the reason: a broken file does not stop the report."""

import csv
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from soundnet_kd.errors import SoundNetKDError

Asked = ParamSpec("Asked")
Found = TypeVar("Found")


class Skipped(dict[str, str]):
    """The reason for each output that is not shown, by its name."""

    def read(
        self, name: str, function: Callable[Asked, Found], *values: Asked.args, **options: Asked.kwargs
    ) -> Found | None:
        """Call a function that reads an output; if that fails, note the reason and return None."""
        try:
            return function(*values, **options)
        # Any of these may come from a file that was damaged or edited.
        except (SoundNetKDError, OSError, LookupError, TypeError, ValueError, csv.Error) as error:
            self[name] = " ".join(str(error).split()) or type(error).__name__
            return None
