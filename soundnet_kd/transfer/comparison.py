"""Two evaluations side by side."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from soundnet_kd.errors import FormatError, SettingsError
from soundnet_kd.storage import read_json, write_csv


@dataclass(frozen=True)
class Comparison:
    """Accuracy of each layer that both evaluations have: (layer, baseline, result), accuracies from 0 to 1."""

    out: Path
    names: tuple[str, str]
    rows: tuple[tuple[str, float, float], ...]

    def __str__(self) -> str:
        widths = [max(len(name), 8) for name in self.names]
        lines = [f"{'layer':<7} {self.names[0]:>{widths[0]}} {self.names[1]:>{widths[1]}}     gain"]
        for layer, before, after in (*self.rows, ("best", *self.best)):
            lines.append(f"{layer:<7} {before:>{widths[0]}.1%} {after:>{widths[1]}.1%} {100 * (after - before):>+8.1f}")
        return "\n".join([*lines, f"wrote {self.out}: accuracy of {len(self.rows)} layers"])

    @property
    def best(self) -> tuple[float, float]:
        """The best layer's accuracy on either side."""
        return max(before for _, before, _ in self.rows), max(after for _, _, after in self.rows)


def compare(results: Path, baseline: Path, out: Path, names: list[str] | None = None) -> Comparison:
    """Set two evaluations of the same sounds side by side, layer by layer.

    Parameters
    ----------
    results : Path
        Folder or results.json that `soundnet-kd evaluate` wrote.
    baseline : Path
        The same for what it is compared with, such as the untrained student.
    out : Path
        CSV file to write.
    names : list of str, optional
        What to call the baseline and the results. [default: baseline results]

    Raises
    ------
    SettingsError
        If the two have no layer in common, or other sounds, classes or another protocol.
    """
    if names is not None and len(names) != 2:
        raise SettingsError(f"names are two, for the baseline and the results, not {len(names)}")
    before, after = _read(baseline), _read(results)
    for key in ("classes", "sounds", "protocol"):
        if before[key] != after[key]:
            raise SettingsError(f"{baseline} and {results} cannot be compared: their {key} differ")
    rows = tuple(
        (layer, before["accuracy"][layer], value)
        for layer, value in after["accuracy"].items()
        if layer in before["accuracy"]
    )
    if not rows:
        raise SettingsError(f"{baseline} and {results} have no layer in common")
    first, second = names or ("baseline", "results")
    write_csv(out, ("layer", first, second), ((layer, f"{a:.4f}", f"{b:.4f}") for layer, a, b in rows))
    return Comparison(out, (first, second), rows)


def _read(path: Path) -> dict[str, Any]:
    file = path / "results.json" if path.is_dir() else path
    if not file.is_file():
        raise SettingsError(f"there is no {file}; make it with `soundnet-kd evaluate`")
    content = read_json(file)
    try:
        return {
            "classes": content["classes"],
            "sounds": content["source"]["identity"]["sounds"],
            "protocol": {result["protocol"] for result in content["results"]},
            "accuracy": {result["layer"]: result["accuracy"] for result in content["results"]},
        }
    except (KeyError, TypeError) as error:
        raise FormatError(f"{file} is not what `soundnet-kd evaluate` writes ({error} is missing)") from error
