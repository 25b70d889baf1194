"""Text of any script in figures: in a font of this machine that has its letters, else as escapes; never as boxes."""

import logging
from collections.abc import Collection, Iterable
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties

LONGEST_ESCAPED = 30
"""Characters after which a text with escapes is cut; a longer one would push the figure off its page."""
# Fonts of mathematical symbols, and one that has a box for every letter, cannot be used for text.
_NO_FONTS = ("Last Resort", "LastResort", "STIX", "cmex", "cmmi", "cmsy", "cmr", "cmb", "cmtt", "cmss")


def make_readable(figure: "Figure") -> None:
    r"""Set the fonts of every text in a figure so that each of its letters can be drawn.

    A letter that no font of this machine has is written as an escape, as in Python: 犬 as \u72ac.
    """
    from matplotlib.text import Text

    axes = [axis for each in figure.axes for axis in (each.xaxis, each.yaxis)]
    texts = [text for text in figure.findobj(Text) if isinstance(text, Text)]
    names = {label.get_text() for axis in axes for label in axis.get_majorticklabels()}
    names |= {text.get_text() for text in texts}
    for axis in axes:
        _make_labels_readable(axis, names)
    for text in texts:
        if not text.get_text().isascii():
            letters = _Letters(text.get_fontproperties(), text.get_text(), names)
            text.set_fontfamily(letters.families)
            text.set_text(letters.render(text.get_text()))


def _make_labels_readable(axis: "Axis", names: Collection[str]) -> None:
    """Do the same for the tick labels of an axis, which its formatter writes again each time the figure is drawn."""
    from matplotlib.ticker import Formatter

    labels = axis.get_majorticklabels()
    words = "".join(label.get_text() for label in labels)
    if words.isascii():
        return
    letters = _Letters(labels[0].get_fontproperties(), words, names)
    for label in labels:
        label.set_fontfamily(letters.families)
    if letters.render(words) == words:
        return
    written = axis.get_major_formatter()

    class Readable(Formatter):
        def __call__(self, value: float, place: int | None = None) -> str:
            return letters.render(written(value, place))

        def format_ticks(self, values: Any) -> list[str]:
            return [letters.render(text) for text in written.format_ticks(values)]

    axis.set_major_formatter(Readable())


class _Letters:
    """The letters that a text can be drawn with, and the other texts of the figure, from which it must stay distinct.

    Attributes
    ----------
    families : list of str
        Font families that the text needs.
    """

    def __init__(self, properties: "FontProperties", texts: str, names: Collection[str]) -> None:
        self._names = names
        family = properties.get_family()
        self.families = [family] if isinstance(family, str) else list(family)
        self._have = set(_letters_of(properties)) | {"\n"}
        for letter in sorted(set(texts)):
            if letter not in self._have:
                found = _find_family(letter, properties.get_weight(), properties.get_style())
                if found is not None:
                    self.families.append(found[0])
                    self._have |= found[1]

    def render(self, text: str) -> str:
        """Return a text with escapes for the letters that no font has; cut if it is long."""
        if self._have.issuperset(text):
            return text
        shown = [letter if letter in self._have else _escape(letter) for letter in text]
        if sum(map(len, shown)) <= LONGEST_ESCAPED:
            return "".join(shown)
        begin = _count_fitting(shown, LONGEST_ESCAPED - 1)
        if not any(name != text and name.startswith(text[:begin]) for name in self._names):
            return f"{''.join(shown[:begin])}…"
        begin, end = _count_fitting(shown, LONGEST_ESCAPED // 2 - 1), _count_fitting(shown[::-1], LONGEST_ESCAPED // 2)
        return f"{''.join(shown[:begin])}…{''.join(shown[len(shown) - end :])}"


def _count_fitting(letters: Iterable[str], room: int) -> int:
    """Count the letters, from the first on, that fit into so many characters."""
    return sum(total <= room for total in accumulate(map(len, letters)))


def _escape(letter: str) -> str:
    code = ord(letter)
    return " " if letter.isspace() else f"\\u{code:04x}" if code < 2**16 else f"\\U{code:08x}"


@lru_cache(maxsize=1024)
def _find_family(letter: str, weight: Any, style: Any) -> tuple[str, frozenset[str]] | None:
    """Find a font family that has a letter: the first in alphabetical order, sans-serif families before others."""
    from matplotlib.font_manager import FontProperties, fontManager

    names = {font.name for font in fontManager.ttflist if not font.name.startswith(_NO_FONTS)}
    # matplotlib warns of each family that lacks the weight, which concerns nobody here.
    findings = logging.getLogger("matplotlib.font_manager")
    level = findings.level
    findings.setLevel(logging.ERROR)
    try:
        for name in sorted(names, key=lambda each: ("Sans" not in each, each)):
            letters = _letters_of(FontProperties(family=[name], weight=weight, style=style))
            if letter in letters:
                return name, letters
    finally:
        findings.setLevel(level)
    return None


def _letters_of(properties: "FontProperties") -> frozenset[str]:
    from matplotlib.font_manager import findfont

    return _letters_in(findfont(properties))


@lru_cache(maxsize=4096)
def _letters_in(file: str) -> frozenset[str]:
    """Return the letters of a scalable font; none of any other."""
    from matplotlib.ft2font import FT2Font

    try:
        font = FT2Font(file)
        codes: Iterable[int] = font.get_charmap() if font.scalable else ()
    except (OSError, RuntimeError, ValueError):
        # A font file that cannot be read has no letters.
        codes = ()
    return frozenset(map(chr, codes))
