"""A student's layer as a step of a scikit-learn pipeline."""

from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from soundnet_kd.errors import SettingsError
from soundnet_kd.models import SoundNet, choose_device
from soundnet_kd.pretrained import load_student


class SoundNetFeatures(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Turn sounds into the averages of a student's layer over time.

    Nothing is learned from the sounds: `fit` loads the student.

    Parameters
    ----------
    student : str, Path or SoundNet
        A name of published weights, a student.safetensors, a run folder, or a network.
    layer : str
        Such as pool5.
    pooling : {"mean", "max"}
        Over time.
    batch_size : int
        Sounds of one length that are heard together.
    device : str
        auto, cpu, cuda, cuda:1, mps.

    Attributes
    ----------
    student_ : SoundNet
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
        student: str | Path | SoundNet = "soundnet8",
        layer: str = "pool5",
        pooling: Literal["mean", "max"] = "mean",
        batch_size: int = 8,
        device: str = "auto",
    ) -> None:
        self.student = student
        self.layer = layer
        self.pooling = pooling
        self.batch_size = batch_size
        self.device = device

    def fit(self, X: Sequence[str | Path] | ArrayLike, y: object = None) -> Self:
        """Load the student.

        Parameters
        ----------
        X : (sounds,) paths, or (sounds, samples) float or int16
            Files, or waveforms in ±1 (int16: full scale 2^15) at the student's sample rate.
        y : ignored
        """
        if self.pooling not in ("mean", "max"):
            raise SettingsError(f"pooling is {self.pooling!r}; choose mean or max")
        if not _are_paths(X):
            validate_data(self, X, dtype="numeric")
        # A network that is given stays as it is, wherever this one goes.
        student = deepcopy(self.student) if isinstance(self.student, SoundNet) else load_student(self.student)
        self.n_features_out_ = student.channels(self.layer)
        self.student_ = student.eval()
        return self

    def transform(self, X: Sequence[str | Path] | ArrayLike) -> NDArray[np.float32]:
        """Listen.

        Parameters
        ----------
        X : (sounds,) paths, or (sounds, samples) float

        Returns
        -------
        (sounds, channels) float32

        Raises
        ------
        MediaError
            If a file cannot be read.
        """
        check_is_fitted(self)
        device = choose_device(self.device)
        student = self.student_.to(device)
        found = np.zeros((len(_rows(X)), self.n_features_out_), np.float32)
        for indices, waveforms in self._batches(self._waveforms(X)):
            inputs = torch.stack([student.preprocessing(waveform) for waveform in waveforms]).to(device)
            with torch.inference_mode():
                steps = student(inputs, [self.layer])[self.layer]
            pooled = steps.mean(dim=-1) if self.pooling == "mean" else steps.amax(dim=-1)
            found[indices] = pooled.cpu().numpy()
        return found

    def get_feature_names_out(self, input_features: object = None) -> NDArray[np.object_]:
        """Name the columns: the layer and the channel."""
        check_is_fitted(self)
        return np.array([f"{self.layer}_{channel}" for channel in range(self.n_features_out_)], dtype=object)

    def _waveforms(self, X: Sequence[str | Path] | ArrayLike) -> Iterator[NDArray[np.float32]]:
        if _are_paths(X):
            return (self.student_.preprocessing.read(Path(str(path))) for path in _rows(X))
        waveforms = validate_data(self, X, dtype="numeric", reset=False)
        full_scale = 2**15 if waveforms.dtype == np.int16 else 1
        return iter(np.asarray(waveforms, dtype=np.float32) / np.float32(full_scale))

    def _batches(
        self, waveforms: Iterable[NDArray[np.float32]]
    ) -> Iterator[tuple[list[int], list[NDArray[np.float32]]]]:
        gathered: dict[int, tuple[list[int], list[NDArray[np.float32]]]] = {}
        for index, waveform in enumerate(waveforms):
            indices, same = gathered.setdefault(len(waveform), ([], []))
            indices.append(index)
            same.append(waveform)
            if len(same) == self.batch_size:
                yield gathered.pop(len(waveform))
        yield from gathered.values()

    def __sklearn_tags__(self) -> Any:
        """Tell scikit-learn what it takes: numbers, or text that names files."""
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags


def _are_paths(X: Any) -> bool:
    if isinstance(X, str | Path):
        raise SettingsError(f"{X} is one path; give a list of paths")
    rows = _rows(X)
    return len(rows) > 0 and isinstance(rows[0], str | Path)


def _rows(X: Any) -> Any:
    return X.to_numpy() if hasattr(X, "to_numpy") else X if hasattr(X, "__len__") else np.asarray(X)
