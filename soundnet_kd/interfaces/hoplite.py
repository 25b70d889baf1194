"""perch-hoplite: a network as the model that fills a database of embeddings, which is then searched.

Such as::

    from perch_hoplite.agile import embed, source_info
    from perch_hoplite.db import db_loader
    from soundnet_kd.interfaces.hoplite import HopliteModel

    model = HopliteModel("run/student", features="sqrt")
    database = db_loader.create_new_usearch_db("database", model.embedding_dim)
    sources = source_info.AudioSources((source_info.AudioSourceConfig("mine", "sounds", "*.wav"),))
    embed.EmbedWorker(sources, model.database_config(), database, embedding_model=model).process_all()

A database keeps what it was filled with. The key that is kept names the student, the layer and what is taken of it, and
holds the fingerprint of all that decides the answer, so that hoplite refuses to fill it with another student's.
"""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.errors import SettingsError
from soundnet_kd.interfaces.listening import Features, Listener
from soundnet_kd.interfaces.suites import HOPLITE
from soundnet_kd.models import Network

if TYPE_CHECKING:
    from perch_hoplite.agile.embed import ModelConfig
    from perch_hoplite.zoo.zoo_interface import InferenceOutputs


class HopliteModel:
    """A network with what hoplite asks of an `EmbeddingModel`: each window of a sound is described by itself.

    Parameters
    ----------
    student : str, Path or Network
        As `load_network` takes it.
    layer : str, optional
        [default: what HEAR's scenes are, pool5 of SoundNet8]
    features : {"mean", "sqrt"}
        Averages over time, or their square roots, which are worth 2 to 4 points on ESC-50.
    window_size_s, hop_size_s : float
        Length of a window, and from the start of one to that of the next.
    device : str
        auto, cpu, cuda, cuda:1, mps.

    Attributes
    ----------
    sample_rate : int
        In Hz.
    embedding_dim : int
    key : str
        What the database keeps of the model.

    Raises
    ------
    SettingsError
        If hoplite is not installed, is of an incompatible version, there is no such network or layer, or windows are
        too short.
    """

    def __init__(
        self,
        student: str | Path | Network = "soundnet8",
        layer: str | None = None,
        features: Features = "mean",
        window_size_s: float = 5.0,
        hop_size_s: float = 5.0,
        device: str = "auto",
    ) -> None:
        HOPLITE.check()
        self.listener = Listener(student, layer, features, device)
        self.sample_rate = self.listener.sample_rate
        self.embedding_dim = self.listener.size
        for name, seconds in (("window_size_s", window_size_s), ("hop_size_s", hop_size_s)):
            if not int(seconds * self.sample_rate) > 0:
                raise SettingsError(f"{name} is {seconds}; give at least one sample at {self.sample_rate} Hz")
        self.window_size_s = window_size_s
        self.hop_size_s = hop_size_s
        self.key = f"soundnet_kd/{self.listener.name}@{self.listener.fingerprint}"
        self._settings = {
            "student": None if isinstance(student, Network) else str(student),
            "layer": self.listener.layer,
            "features": features,
            "window_size_s": window_size_s,
            "hop_size_s": hop_size_s,
        }
        # Hoplite embeds in eight threads.
        self._one_at_a_time = threading.Lock()

    @classmethod
    def from_config(cls, model_config: Mapping[str, Any]) -> Self:
        """Return the model that a database's `model_config` describes, on the device that is there.

        Raises
        ------
        SettingsError
            If it was made of a network in memory, which has no file to be read from again.
        """
        settings = dict(model_config)
        if settings.get("student") is None:
            raise SettingsError("the database was filled by a network in memory; name the student's file as student")
        return cls(**settings)

    def database_config(self) -> "ModelConfig":
        """Return what a database keeps of the model, for hoplite's `EmbedWorker`."""
        from ml_collections import config_dict
        from perch_hoplite.agile.embed import ModelConfig

        return ModelConfig(self.key, self.embedding_dim, config_dict.ConfigDict(self._settings))

    def embed(self, audio_array: NDArray[np.floating]) -> "InferenceOutputs":
        """Describe the windows of a sound.

        Parameters
        ----------
        audio_array : (samples,) float
            In ±1, at `sample_rate`.

        Returns
        -------
        InferenceOutputs
            Its `embeddings` are (windows, 1, embedding_dim) float32. As hoplite's own models do, they leave out the
            rest that fills no window; a sound shorter than a window is one, and is repeated as the network asks for.

        Raises
        ------
        MediaError
            If there are no samples, or one is NaN or infinite.
        SettingsError
            If it has several channels.
        """
        from perch_hoplite.zoo.zoo_interface import InferenceOutputs

        samples = np.asarray(audio_array)
        if samples.ndim != 1:
            raise SettingsError(f"audio_array has shape {samples.shape}; hoplite's is (samples,)")
        sound = self.listener.waveform(samples, self.sample_rate)
        length, hop = int(self.window_size_s * self.sample_rate), int(self.hop_size_s * self.sample_rate)
        starts = range(0, max(1, len(sound) - length + 1), hop)
        with self._one_at_a_time:
            found = self.listener.embed(sound[start : start + length] for start in starts)
        return InferenceOutputs(embeddings=found[:, np.newaxis], batched=False)

    def batch_embed(self, audio_batch: NDArray[np.floating]) -> "InferenceOutputs":
        """Describe the windows of sounds of one length, (sounds, samples).

        Returns
        -------
        InferenceOutputs
            Its `embeddings` are (sounds, windows, 1, embedding_dim) float32.

        Raises
        ------
        MediaError, SettingsError
            As `embed`.
        """
        from perch_hoplite.zoo.zoo_interface import batch_embed_from_embed_fn

        if np.ndim(audio_batch) != 2 or not len(audio_batch):
            raise SettingsError(f"audio_batch has shape {np.shape(audio_batch)}; hoplite's is (sounds, samples)")
        return batch_embed_from_embed_fn(self.embed, audio_batch)
