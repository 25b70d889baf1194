"""The pages of the API: one for each room that has public names, with all of them."""

import importlib
from pathlib import Path

from sphinx.application import Sphinx

ROOMS = (
    "soundnet_kd",
    "soundnet_kd.media",
    "soundnet_kd.data",
    "soundnet_kd.models",
    "soundnet_kd.models.front_ends",
    "soundnet_kd.models.classifiers",
    "soundnet_kd.pretrained",
    "soundnet_kd.pretrained.formats",
    "soundnet_kd.teachers",
    "soundnet_kd.distill",
    "soundnet_kd.features",
    "soundnet_kd.transfer",
    "soundnet_kd.analysis",
    "soundnet_kd.interfaces.scikit_learn",
    "soundnet_kd.interfaces.hear",
    "soundnet_kd.errors",
)
"""Where public names are, in the order of the route."""

PAGE = """{title}
{underline}

.. currentmodule:: {room}

.. autosummary::

{summary}

.. automodule:: {room}
   :members: {names}
   :member-order: groupwise
   :show-inheritance:
"""


def public_names(room: str) -> list[str]:
    """Return what a room gives: its `__all__`, or what is defined in it and begins with no underscore."""
    module = importlib.import_module(room)
    names = getattr(module, "__all__", None) or [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == room
    ]
    return sorted(names, key=lambda name: (not name[0].isupper(), name.lower()))


def setup(app: Sphinx) -> None:
    """Write a page for each room, where it is not there as it should be."""
    out = Path(app.srcdir) / "api" / "made"
    out.mkdir(parents=True, exist_ok=True)
    for room in ROOMS:
        names = public_names(room)
        text = PAGE.format(
            title=room,
            underline="=" * len(room),
            room=room,
            summary="\n".join(f"   {name}" for name in names),
            names=", ".join(names),
        )
        page = out / f"{room}.rst"
        if not page.exists() or page.read_text(encoding="utf-8") != text:
            page.write_text(text, encoding="utf-8")
