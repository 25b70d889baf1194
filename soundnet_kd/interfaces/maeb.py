"""MAEB (the audio benchmark of mteb): a network as a model that `mteb.evaluate` runs.

Such as::

    import mteb
    from soundnet_kd.interfaces.maeb import MaebModel

    mteb.evaluate(MaebModel("run/student", features="sqrt"), mteb.get_tasks(tasks=["ESC50"]))

mteb keeps results by a model's name and revision. The name says the student, the layer and what is taken of it; the
revision is the fingerprint of all that decides the answer, so that no student is given the result of another one.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from soundnet_kd.errors import MediaError, SettingsError
from soundnet_kd.interfaces.listening import Features, Listener
from soundnet_kd.interfaces.suites import MTEB
from soundnet_kd.models import Network
from soundnet_kd.pretrained import student_registry

if TYPE_CHECKING:
    from mteb.models import ModelMeta

REVISION_CHARACTERS = 40
"""Of a fingerprint; as many as a revision has where models are published."""
SUITE_LICENCES = {"MIT": "mit", "Apache-2.0": "apache-2.0"}
"""What mteb calls the licences that students are published under."""


class MaebModel:
    """A network with what mteb asks of an encoder of sounds.

    Parameters
    ----------
    student : str, Path or Network
        As `load_network` takes it.
    layer : str, optional
        [default: pool5 of SoundNet8; of other networks what HEAR's scenes are]
    features : {"mean", "sqrt"}
        Averages over time, or their square roots, which are worth 2 to 4 points on ESC-50.
    device : str
        auto, cpu, cuda, cuda:1, mps.
    licence : str, optional
        Of a student of one's own, as mteb spells it (such as cc-by-4.0), or an address.

    Attributes
    ----------
    listener : Listener
    mteb_model_meta : mteb.ModelMeta

    Raises
    ------
    SettingsError
        If mteb is not installed, is of an incompatible version, or there is no such network or layer.
    """

    def __init__(
        self,
        student: str | Path | Network = "soundnet8",
        layer: str | None = None,
        features: Features = "mean",
        device: str = "auto",
        licence: str | None = None,
    ) -> None:
        MTEB.check()
        self.listener = Listener(student, layer, features, device)
        settings = {"layer": layer, "features": features, "licence": licence}
        self.mteb_model_meta = _describe(self.listener, student, settings)

    def encode(
        self,
        inputs: Iterable[Mapping[str, Any]],
        *,
        task_metadata: Any,
        hf_split: str,
        hf_subset: str,
        prompt_type: Any = None,
        **kwargs: Any,
    ) -> NDArray[np.float32]:
        """Describe the sounds of a task.

        Parameters
        ----------
        inputs : iterable of mapping
            Batches of mteb's loader: `audio` lists items with `array`, (samples,) or (channels, samples) in ±1, and
            `sampling_rate`.
        task_metadata : mteb.TaskMetadata
        hf_split, hf_subset, prompt_type, kwargs
            Sounds are described alike in all of them; show_progress_bar is heeded.

        Returns
        -------
        (sounds, dimensions) float32

        Raises
        ------
        MediaError
            If a sound has no samples, too few, or some that are NaN or infinite; the message names the sound.
        """
        shown = tqdm(inputs, desc=task_metadata.name, disable=not kwargs.get("show_progress_bar", True))
        found = [np.zeros((0, self.listener.size), np.float32)]
        heard = 0
        for batch in shown:
            sounds = []
            for item in batch["audio"]:
                try:
                    sounds.append(self.listener.waveform(item["array"], item["sampling_rate"]))
                except (MediaError, SettingsError) as error:
                    where = f"sound {heard + len(sounds)} of {task_metadata.name} ({hf_split})"
                    raise type(error)(f"{where}: {error}") from error
            heard += len(sounds)
            found.append(self.listener.embed(sounds))
        return np.concatenate(found)

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Return the cosines of the angles between all embeddings (n, d) and (m, d), an (n, m) tensor."""
        from mteb.similarity_functions import cos_sim

        return cos_sim(embeddings1, embeddings2)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Return the cosines of the angles between embeddings (n, d) and (n, d), row by row, an (n,) tensor."""
        from mteb.similarity_functions import pairwise_cos_sim

        return pairwise_cos_sim(embeddings1, embeddings2)


def load_maeb_model(name: str, revision: str | None = None, device: str | None = None, **settings: Any) -> MaebModel:
    """Return the model that a `ModelMeta` of this package describes; mteb calls it.

    Raises
    ------
    SettingsError
        If it is no longer the network of this revision.
    """
    model = MaebModel(device=device or "auto", **settings)
    now = model.mteb_model_meta
    if revision is not None and (now.name, now.revision) != (name, revision):
        raise SettingsError(
            f"{settings.get('student')} is no longer {name} of revision {revision}, but {now.name} of {now.revision}; "
            "make its ModelMeta anew"
        )
    return model


def _describe(listener: Listener, student: str | Path | Network, settings: dict[str, Any]) -> "ModelMeta":
    from mteb.models import ModelMeta

    entry = student_registry().get(listener.student)
    parameters = list(listener.network.parameters())
    # A network that was given has no name that it could be loaded by again.
    loaded = {} if isinstance(student, Network) else {"loader": load_maeb_model}
    known = {"license": SUITE_LICENCES.get(entry.licence), "reference": entry.source} if entry else {}
    found = {
        **dict(ModelMeta.create_empty()),
        **loaded,
        **known,
        "loader_kwargs": {"student": str(student), **settings} if loaded else {},
        "name": f"soundnet_kd/{listener.name}",
        "revision": listener.fingerprint[:REVISION_CHARACTERS],
        "modalities": ["audio"],
        "n_parameters": sum(each.numel() for each in parameters),
        "memory_usage_mb": sum(each.numel() * each.element_size() for each in parameters) / 2**20,
        "embed_dim": listener.size,
        "open_weights": entry is not None,
        "framework": ["PyTorch"],
        "similarity_fn_name": "cosine",
        "use_instructions": False,
    }
    if settings["licence"] is not None:
        found["license"] = settings["licence"]
    try:
        return ModelMeta.model_validate(found)
    except ValueError as error:
        raise SettingsError(
            f"licence is {settings['licence']!r}; mteb takes an address, or one that it knows, such as mit or cc-by-4.0"
        ) from error
