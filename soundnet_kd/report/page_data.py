"""Data for the page as scripts, since a page that is opened from disk may load scripts but not JSON."""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.storage import atomic_write

FOLDER = "data"
_CALL = "provide"
"""Name of the function in the page's script that receives the data."""


class PageData:
    """The data of a page.

    Parameters
    ----------
    out : str or Path
        Folder of the page.

    Attributes
    ----------
    names : list of str
        Names of the data that were written.
    """

    def __init__(self, out: str | Path) -> None:
        self._folder = Path(out) / FOLDER
        self.names: list[str] = []

    def write(self, name: str, value: Any) -> None:
        """Write data that the page loads by a name.

        Parameters
        ----------
        name : str
            Letters, digits and hyphens.
        value : anything that JSON can hold, and numbers from `encode_integers`
        """
        # ASCII is read correctly whatever encoding the browser assumes.
        text = json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
        with atomic_write(self._folder / f"{name}.js") as partial:
            partial.write_text(f"{_CALL}({json.dumps(name)},{text});\n", encoding="ascii")
        self.names.append(name)

    def remove_others(self) -> None:
        """Remove data of an earlier page that this one does not need."""
        for file in self._folder.iterdir():
            if file.is_file() and file.stem not in self.names:
                file.unlink()


def encode_integers(array: NDArray[np.integer]) -> dict[str, Any]:
    """Encode integers from 0 on as text, in as few bits as they need.

    Parameters
    ----------
    array : (...) int
        Not below 0.

    Returns
    -------
    dict
        `bits` (8, 16 or 32) of each unsigned, little-endian number, `shape`, and `data` in base64.
    """
    most = int(array.max(initial=0))
    bits = next(bits for bits in (8, 16, 32) if most < 2**bits)
    data = np.ascontiguousarray(array).astype(f"<u{bits // 8}").tobytes()
    return {"bits": bits, "shape": list(array.shape), "data": base64.b64encode(data).decode("ascii")}


def quantize(values: NDArray[np.floating], bits: int = 16) -> NDArray[np.int64]:
    """Scale numbers from 0 to 1 to integers from 0 to the largest of this many bits; the page scales them back."""
    return np.asarray(np.rint(np.clip(values, 0, 1) * (2**bits - 1)), dtype=np.int64)


def rounded(values: NDArray[np.floating], digits: int = 4) -> list[float | None]:
    """Round numbers to significant digits, for JSON; None in place of NaN."""
    return [float(f"{value:.{digits}g}") if np.isfinite(value) else None for value in values.tolist()]
