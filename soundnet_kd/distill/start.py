"""What a distillation starts from: a new student, or another one with the heads that the teachers ask for."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from soundnet_kd.errors import SettingsError
from soundnet_kd.models import SoundNet, Student
from soundnet_kd.models.architectures import build_student, parse_name
from soundnet_kd.models.student import full_name

ClassNames = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Start:
    """A student before its first step, and what of it was there before.

    Attributes
    ----------
    student : Student
    kept_heads : tuple of str
        Heads whose weights were there; the layers below the heads were there too.
    new_heads : tuple of str
        Heads that begin with new weights.
    left_out : tuple of str
        Heads of the other student that no teacher asks for.
    held : tuple of str
        Modules that stay as they are, weights and running statistics.
    sha256 : str
        Fingerprint of the other student; empty if there was none.
    """

    student: Student
    kept_heads: tuple[str, ...] = ()
    new_heads: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    sha256: str = ""

    @property
    def kept(self) -> frozenset[str]:
        """Names of the parameters that were there."""
        output = self.student.output_layer
        new = tuple(f"{output}.{head}." for head in self.new_heads)
        return frozenset(name for name, _ in self.student.named_parameters() if not name.startswith(new))

    def __str__(self) -> str:
        layers = self.student.layers
        said = [f"{layers[0]} to {layers[-2]} {_with_heads(self.kept_heads)}keep their weights"]
        if self.new_heads:
            said.append(f"new: {_heads(self.new_heads)}, whose classes it does not have")
        if self.left_out:
            said.append(f"left out: {_heads(self.left_out)}, which no teacher asks for")
        if self.held:
            held = [layer for layer in layers if layer in self.held] or self.held
            said.append(f"held: {' to '.join(dict.fromkeys((held[0], held[-1])))}, with batch norm")
        return "; ".join(said)


def start_from(source: Student, class_names: ClassNames, freeze: str | None = None) -> Start:
    """Begin with another student: all of its layers, and those of its heads that have the classes asked for.

    A head keeps its weights if it has the same classes: the same names in any order, or in the same order names that
    are spelled more or less fully (`crane` and `crane (machine)`, `tench` and `tench, Tinca tinca`). Of a head that
    has some of them only, nothing is kept. New heads draw their weights from torch's generator.

    Parameters
    ----------
    source : Student
        Left as it is.
    class_names : mapping from head to names
        What the teachers know.
    freeze : str, optional
        What lies before this layer is held.

    Raises
    ------
    SettingsError
        If there is no such layer, or nothing lies before it.
    """
    held = held_before(source, freeze) if freeze is not None else ()
    student = type(source)(class_names, source.preprocessing, source.width)
    state, there = student.state_dict(), source.state_dict()
    output = source.output_layer
    state |= {name: tensor for name, tensor in there.items() if not name.startswith(f"{output}.")}
    taken: dict[str, str] = {}
    for head, names in class_names.items():
        for other in sorted(source.class_names, key=lambda name: name != head):
            rows = find_rows(source.class_names[other], names)
            if rows is not None and other not in taken.values():
                taken[head] = other
                state |= {f"{output}.{head}.{part}": there[f"{output}.{other}.{part}"][rows] for part in _PARTS}
                break
    student.load_state_dict(state)
    student.untaught_heads = tuple(
        head for head in class_names if head not in taken or taken[head] in source.untaught_heads
    )
    return Start(
        student,
        kept_heads=tuple(taken),
        new_heads=tuple(head for head in class_names if head not in taken),
        left_out=tuple(head for head in source.class_names if head not in {*taken.values(), *class_names}),
        held=held,
        sha256=source.fingerprint(),
    )


def held_before(student: Student, layer: str) -> tuple[str, ...]:
    """Name the modules of a student that lie before a layer.

    Raises
    ------
    SettingsError
        If there is no such layer, or it is the first.
    """
    before = student.modules_before(layer)
    if not before:
        raise SettingsError(
            f"freeze is {layer}, and nothing lies before it; name the first layer that learns, such as "
            f"{student.layers[-2]}, or leave it out"
        )
    return before


def require_architecture(
    source: Student, name: str, architecture: str | None = None, width: float | None = None
) -> None:
    """Refuse another architecture or width than those of the student that is begun with, where they are asked for.

    Raises
    ------
    SettingsError
        With the layers that differ.
    """
    own, own_width = parse_name(source.architecture)
    wanted, told = parse_name(architecture or own)
    if width is None:
        width = own_width if architecture in (None, own) else told
    asked = full_name(wanted, width)
    if source.architecture == asked:
        return
    cure = "leave --architecture and --width out, or give another --init"
    student = build_student(asked, {"unused": 1})
    if not (isinstance(source, SoundNet) and isinstance(student, SoundNet)):
        raise SettingsError(f"init {name} is a {source.architecture}, but {asked} is asked for; {cure}")
    blocks, others = (
        {f"conv{number}": block for number, block in enumerate((*each.blocks, each.output), start=1)}
        for each in (source, student)
    )
    differ = [
        f"{layer} ({blocks[layer].filters or 'output'}, not {others[layer].filters or 'output'})"
        if layer in blocks and layer in others
        else f"{layer} (only in {source.architecture if layer in blocks else asked})"
        for layer in blocks | others
        if blocks.get(layer) != others.get(layer)
    ]
    raise SettingsError(
        f"init {name} is a {source.architecture}, but {asked} is asked for; they differ in the filters of "
        f"{', '.join(differ)}: {cure}"
    )


def find_rows(there: Sequence[str], wanted: Sequence[str]) -> list[int] | None:
    """Return the place of each wanted class among those that are there; None if they are not the same classes."""
    if len(there) != len(wanted):
        return None
    if all(_is_same(one, other) for one, other in zip(there, wanted, strict=True)):
        return list(range(len(wanted)))
    place = {name: row for row, name in enumerate(there)}
    # Where a name stands twice, nobody knows which is meant.
    return [place[name] for name in wanted] if len(place) == len(there) and place.keys() == set(wanted) else None


_PARTS = ("weight", "bias")


def _is_same(name: str, other: str) -> bool:
    """Tell whether two names are of one class: all words of the shorter are in the longer."""
    words, others = (set(re.findall(r"\w+", each.casefold())) for each in (name, other))
    return name == other or (bool(words and others) and (words <= others or others <= words))


def _heads(names: Sequence[str]) -> str:
    return f"the head{'s' if len(names) > 1 else ''} {' and '.join(names)}"


def _with_heads(names: Sequence[str]) -> str:
    return f"and {_heads(names)} " if names else ""
