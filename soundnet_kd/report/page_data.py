"""Data for the page as script files: a page that is opened from disk may load scripts, but no JSON."""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.storage import atomic_write

FOLDER = "data"
_CALL = "provide"
"""The function of the page's script that takes the data."""


class PageData:
    """The data of a page.

    Parameters
    ----------
    out : Path
        Folder of the page.

    Attributes
    ----------
    names : list of str
        Of what was written.
    """

    def __init__(self, out: Path) -> None:
        self._folder = out / FOLDER
        self.names: list[str] = []

    def write(self, name: str, value: Any) -> None:
        """Write data that the page asks for by a name.

        Parameters
        ----------
        name : str
            Letters, digits and hyphens.
        value : anything that JSON can hold, and numbers from `encode_integers`
        """
        # In plain ASCII no name of a file or a class can be misread, whatever the page's encoding is taken for.
        text = json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
        with atomic_write(self._folder / f"{name}.js") as partial:
            partial.write_text(f"{_CALL}({json.dumps(name)},{text});\n", encoding="ascii")
        self.names.append(name)

    def remove_others(self) -> None:
        """Remove what an earlier page had and this one has no use for."""
        for file in self._folder.iterdir():
            if file.is_file() and file.stem not in self.names:
                file.unlink()


def encode_integers(array: NDArray[np.integer]) -> dict[str, Any]:
    """Encode whole numbers from 0 on in the fewest bytes, as text.

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
    """Return numbers from 0 to 1 as whole ones from 0 to the largest of so many bits; the page divides them again."""
    return np.asarray(np.rint(np.clip(values, 0, 1) * (2**bits - 1)), dtype=np.int64)


def rounded(values: NDArray[np.floating], digits: int = 4) -> list[float | None]:
    """Return numbers as JSON can hold them, in significant digits; None where there is none."""
    return [float(f"{value:.{digits}g}") if np.isfinite(value) else None for value in values.tolist()]
