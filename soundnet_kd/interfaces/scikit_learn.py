"""A network's layer as a step of a scikit-learn pipeline."""

import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from soundnet_kd.errors import MediaError, SettingsError
from soundnet_kd.features.extractor import FeatureExtractor
from soundnet_kd.features.pooling import Pooling
from soundnet_kd.features.reading import Sound, read_decoded
from soundnet_kd.interfaces.listening import average_layer
from soundnet_kd.media import RawAudioDecoder, as_float, decode_in_processes
from soundnet_kd.media.full_scale import MAX_OVERSHOOT, to_array
from soundnet_kd.models import Network, choose_device
from soundnet_kd.pretrained import load_network


class SoundNetFeatures(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Turn sounds into a network's layer, pooled over time.

    Nothing is learned from the sounds: `fit` loads the network.

    Parameters
    ----------
    student : str, Path or Network
        A network: the file of a student, a fine-tuned network or one from scratch, the run folder that holds one, a
        name of published weights, or the network itself.
    layer : str
        Such as pool5. Of layers over frequency and time the means over frequency are taken first.
    pooling : {"mean", "max", "std"}
        Over time.
    batch_size : int
        Sounds of one length that are computed together.
    device : str
        auto, cpu, cuda, cuda:1, mps.

    Attributes
    ----------
    student_ : Network
    n_features_out_ : int
        Channels of the layer.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.svm import LinearSVC
    >>> classifier = make_pipeline(SoundNetFeatures("run/student", layer="pool5"), LinearSVC())
    >>> classifier.fit(["dog.wav", "rain.wav"], ["dog", "rain"])  # doctest: +SKIP
    """

    def __init__(
        self,
        student: str | Path | Network = "soundnet8",
        layer: str = "pool5",
        pooling: Pooling = "mean",
        batch_size: int = 8,
        device: str = "auto",
    ) -> None:
        self.student = student
        self.layer = layer
        self.pooling = pooling
        self.batch_size = batch_size
        self.device = device

    def fit(self, X: Sequence[str | Path] | ArrayLike, y: object = None) -> Self:
        """Load the network.

        Parameters
        ----------
        X : (sounds,) or (sounds, 1) paths, (sounds, samples) float or int16, or a list of (samples,) float or int16
            Files, or waveforms at the network's sample rate, also of several lengths: float in ±1, int16, int8, or
            uint8 (silence is 128), as arrays, tensors, or lists of floats.
        y : ignored
        """
        if self.pooling not in get_args(Pooling):
            raise SettingsError(f"pooling is {self.pooling!r}; choose one of {', '.join(get_args(Pooling))}")
        if self.batch_size < 1:
            raise SettingsError(f"batch_size is {self.batch_size}; a batch has at least one sound")
        if _paths(X) is None and _waveforms(X) is None:
            validate_data(self, _table(X), dtype="numeric")
        network = load_network(self.student)
        self.n_features_out_ = network.channels(self.layer)
        self.student_ = network
        return self

    def transform(self, X: Sequence[str | Path] | ArrayLike) -> NDArray[np.float32]:
        """Listen.

        Parameters
        ----------
        X : (sounds,) or (sounds, 1) paths, (sounds, samples) float or int16, or a list of (samples,) float or int16

        Returns
        -------
        (sounds, channels) float32

        Raises
        ------
        MediaError
            If a file cannot be read, or a sound is too short for the layer.
        SettingsError
            If waveforms are whole numbers of another type, or far outside ±1, so that their full scale is not known.
        """
        check_is_fitted(self)
        extractor = FeatureExtractor(self.student_.to(choose_device(self.device)), [self.layer], self.pooling)
        with self._sounds(X, extractor) as sounds:
            return average_layer(extractor, self.layer, sounds, self.batch_size)

    def get_feature_names_out(self, input_features: object = None) -> NDArray[np.object_]:
        """Name the columns: the layer and the channel."""
        check_is_fitted(self)
        return np.array([f"{self.layer}_{channel}" for channel in range(self.n_features_out_)], dtype=object)

    @contextmanager
    def _sounds(self, X: Any, extractor: FeatureExtractor) -> Iterator[Iterator[Sound]]:
        """Return sounds one after the other, long ones on disk."""
        paths = _paths(X)
        if paths is None:
            waveforms = _waveforms(X)
            if waveforms is None:
                waveforms = list(_with_scale(validate_data(self, _table(X), dtype="numeric", reset=False)))
            # All are looked at before the first is computed, but not kept as floats.
            for waveform in waveforms:
                as_float(_unless_silent(waveform))
            yield (as_float(_unless_silent(waveform), level_matters=False) for waveform in waveforms)
            return
        preprocessing = self.student_.preprocessing
        store = RawAudioDecoder(preprocessing.sample_rate, preprocessing.channel)
        with (
            tempfile.TemporaryDirectory() as folder,
            decode_in_processes(store, paths, Path(folder) / "decoded", workers=0) as files,
        ):
            yield map(_readable, read_decoded((file for _, file in files), extractor.longest))

    def __sklearn_tags__(self) -> Any:
        """Tell scikit-learn what it takes: numbers, or text that names files."""
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags


def _paths(X: Any) -> list[Path] | None:
    """Return the files that rows name; None if they are waveforms."""
    if isinstance(X, str | Path):
        raise SettingsError(f"{X} is one path; give a list of paths")
    rows = X.to_numpy() if hasattr(X, "to_numpy") else X
    if not isinstance(rows, Sequence | np.ndarray):
        return None
    # A column of a table has rows of one path.
    names = [row[0] if isinstance(row, list | tuple | np.ndarray) and len(row) == 1 else row for row in rows]
    named = [isinstance(name, str | Path) for name in names]
    if not any(named):
        return None
    if not all(named):
        raise SettingsError(f"row {named.index(False)} is no path, though others are; give either paths or waveforms")
    return [Path(str(name)) for name in names]


def _table(X: Any) -> Any:
    """Return a tensor as an array, and anything else as it is."""
    return to_array(X) if hasattr(X, "detach") else X


def _waveforms(X: Any) -> list[Any] | None:
    """Return the rows of what is no table: waveforms of several lengths or types, each looked at by itself."""
    rows = X.to_numpy() if hasattr(X, "to_numpy") else X
    if isinstance(rows, np.ndarray) and rows.dtype == object and rows.ndim == 1:
        rows = list(rows)
    if not isinstance(rows, list | tuple):
        return None
    return list(rows) if len(rows) and all(hasattr(row, "__len__") and np.ndim(row) for row in rows) else None


def _with_scale(table: NDArray[Any]) -> NDArray[Any]:
    """Take a table of whole numbers that do not say what full scale is as floats, if all could be in ±1."""
    if table.dtype not in (np.int32, np.int64):
        return table
    peak = max(-int(table.min()), int(table.max()))
    if not 0 < peak <= MAX_OVERSHOOT:
        return table
    warnings.warn(
        f"a waveform reaches {peak} in {table.dtype}, whose full scale is unknown, so 1 is taken for it; give float "
        "in ±1, or int16, if the values are of 16 bit",
        stacklevel=4,
    )
    return table.astype(np.float32)


def _unless_silent(waveform: Any) -> NDArray[Any]:
    """Return samples, and zeros of any signed type as floats: they are silence on every scale."""
    samples = to_array(waveform)
    return samples.astype(np.float32) if samples.dtype.kind == "i" and not samples.any() else samples


def _readable(sound: Sound | MediaError) -> Sound:
    if isinstance(sound, MediaError):
        raise sound
    return sound
