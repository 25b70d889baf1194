"""The networks by name, and built again from what was written down of them."""

import inspect
from collections.abc import Mapping
from typing import Any

from soundnet_kd.errors import SettingsError, nearest
from soundnet_kd.models.classifiers.cats_dogs import CatsDogs
from soundnet_kd.models.classifiers.film_genres import FilmGenres, FilmGenresRecurrent
from soundnet_kd.models.classifiers.light_cnn import LightCNN
from soundnet_kd.models.classifiers.nsynth import NSynthBetter, NSynthSimple
from soundnet_kd.models.classifiers.sound_classifier import SoundClassifier
from soundnet_kd.models.classifiers.wavception import WavCeption
from soundnet_kd.models.preprocessing import ClipPreprocessing

CLASSIFIERS: dict[str, type[SoundClassifier]] = {
    "CatsDogs": CatsDogs,
    "FilmGenres": FilmGenres,
    "FilmGenresRecurrent": FilmGenresRecurrent,
    "NSynthSimple": NSynthSimple,
    "NSynthBetter": NSynthBetter,
    "LightCNN": LightCNN,
    "WavCeption": WavCeption,
}
"""Networks that are trained from scratch, by name."""


def build_classifier(name: str, settings: Mapping[str, Any]) -> SoundClassifier:
    """Build a network from its name and its settings, with new weights.

    Parameters
    ----------
    name : str
        One of `CLASSIFIERS`.
    settings : mapping
        Parameters of its constructor, `preprocessing` as a mapping too; such as `SoundClassifier.settings`.

    Raises
    ------
    SettingsError
        If there is no such network or setting, or a value is impossible.
    """
    if name not in CLASSIFIERS:
        raise SettingsError(f"there is no network {name!r}{nearest(name, CLASSIFIERS)}")
    known = tuple(inspect.signature(CLASSIFIERS[name]).parameters)
    values = dict(settings)
    for key in values:
        if key not in known:
            raise SettingsError(f"{name} has no setting {key!r}{nearest(key, known)}")
    try:
        if isinstance(values.get("preprocessing"), Mapping):
            values["preprocessing"] = ClipPreprocessing(**values["preprocessing"])
        return CLASSIFIERS[name](**values)
    except (TypeError, ValueError) as error:
        raise SettingsError(f"{name} cannot be built: {error}") from error
