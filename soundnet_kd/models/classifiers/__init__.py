"""Networks that learn labelled sounds from scratch, one file for each system."""

from soundnet_kd.models.classifiers.cats_dogs import CatsDogs
from soundnet_kd.models.classifiers.film_genres import FilmGenres, FilmGenresRecurrent
from soundnet_kd.models.classifiers.light_cnn import LightCNN
from soundnet_kd.models.classifiers.nsynth import NSynthBetter, NSynthSimple
from soundnet_kd.models.classifiers.registry import CLASSIFIERS, build_classifier
from soundnet_kd.models.classifiers.sound_classifier import SoundClassifier
from soundnet_kd.models.classifiers.wavception import WavCeption

__all__ = [
    "CLASSIFIERS",
    "CatsDogs",
    "FilmGenres",
    "FilmGenresRecurrent",
    "LightCNN",
    "NSynthBetter",
    "NSynthSimple",
    "SoundClassifier",
    "WavCeption",
    "build_classifier",
]
