"""Everything that takes a network takes any of them: students, fine-tuned networks and networks from scratch."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from soundnet_kd import FeatureCache, SoundNet5, extract, load_network, load_student
from soundnet_kd.commands.peel import peel
from soundnet_kd.commands.predict import Predictions, predict
from soundnet_kd.errors import FormatError, SettingsError
from soundnet_kd.features import extractor
from soundnet_kd.interfaces import hear
from soundnet_kd.interfaces.scikit_learn import SoundNetFeatures
from soundnet_kd.media import write_audio
from soundnet_kd.models import FinetunedNetwork, LogMelCNN, Network, Preprocessing, Student, write_network
from soundnet_kd.models.classifiers import build_classifier
from soundnet_kd.pretrained.conversion import convert

RATE = 16_000
CLASSES = ("cat", "dog", "rain")


def finetuned() -> FinetunedNetwork:
    torch.manual_seed(1)
    student = SoundNet5({"unused": 1}, Preprocessing(sample_rate=RATE, least_samples=2 * RATE))
    with torch.no_grad():
        student.get_parameter("conv3.weight").mul_(30)
    network = FinetunedNetwork(student, "pool3", CLASSES)
    nn.init.normal_(network.head.weight)
    return network.eval()


def from_scratch(name: str = "LightCNN", classes: tuple[str, ...] = CLASSES) -> Network:
    torch.manual_seed(2)
    return build_classifier(name, {"class_names": list(classes)}).eval()


def student() -> SoundNet5:
    torch.manual_seed(3)
    return SoundNet5({"objects": CLASSES}, Preprocessing(sample_rate=RATE)).eval()


def log_mel() -> LogMelCNN:
    torch.manual_seed(4)
    return LogMelCNN({"objects": CLASSES}, Preprocessing(RATE, amplitude=1.0, least_samples=6 * RATE)).eval()


def finetuned_log_mel() -> FinetunedNetwork:
    """Of a layer that has rows of frequencies."""
    return FinetunedNetwork(log_mel(), "pool3", CLASSES).eval()


NETWORKS: dict[str, Callable[[], Network]] = {
    "student.safetensors": student,
    "classifier.safetensors": finetuned,
    "scratch.safetensors": from_scratch,
    "cats_dogs.safetensors": lambda: from_scratch("CatsDogs", ("dog",)),
    "log_mel.safetensors": log_mel,
    "finetuned_log_mel.safetensors": finetuned_log_mel,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of each kind: run-0 … run-5."""
    folder = tmp_path_factory.mktemp("networks")
    for number, (name, build) in enumerate(NETWORKS.items()):
        network = build()
        file = "student.safetensors" if isinstance(network, Student) else "classifier.safetensors"
        write_network(network, folder / f"run-{number}" / file, {"made": name})
    for name, seconds in (("short", 1.5), ("long", 4.25)):
        write_audio(folder / "sounds" / f"{name}.wav", noise(seconds), RATE)
    return folder


def noise(seconds: float) -> NDArray[np.float32]:
    rng = np.random.default_rng(round(100 * seconds))
    loudness = np.repeat(rng.uniform(0.02, 0.3, 20), RATE // 2)[: round(seconds * RATE)]
    return (loudness * rng.standard_normal(round(seconds * RATE))).clip(-1, 1).astype(np.float32)


def heard(path: Path) -> NDArray[np.float32]:
    """What lies in a file of 16 bit."""
    import soundfile

    samples: NDArray[np.float32] = soundfile.read(path, dtype="float32")[0]
    return samples


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    shares = np.exp(logits - logits.max())
    return np.asarray(shares / shares.sum())


def by_hand(network: FinetunedNetwork, samples: NDArray[np.float32]) -> dict[str, NDArray[np.float64]]:
    """Convolutions, batch norm and poolings of the first three blocks in double precision, then the head."""
    state = {name: tensor.double() for name, tensor in network.state_dict().items()}
    hidden = torch.from_numpy(samples.astype(np.float64) * 256)[None, None]
    layers = {}
    for block, padding in ((1, 32), (2, 16), (3, 8)):
        name = f"network.conv{block}"
        hidden = nn.functional.conv1d(hidden, state[f"{name}.weight"], state[f"{name}.bias"], 2, padding)
        norm = {
            part: state[f"network.batchnorm{block}.{part}"]
            for part in ("running_mean", "running_var", "weight", "bias")
        }
        hidden = nn.functional.batch_norm(hidden, **norm).relu()
        layers[f"conv{block}"] = hidden
        hidden = nn.functional.max_pool1d(hidden, 8)
        layers[f"pool{block}"] = hidden
    means = {layer: steps[0].mean(dim=1).numpy() for layer, steps in layers.items()}
    return {**means, "answer": state["head.weight"].numpy() @ means["pool3"] + state["head.bias"].numpy()}


def guessed(found: Predictions, path: Path) -> list[Mapping[str, float]]:
    return [{guess.name: guess.probability for guess in span.guesses["classes"]} for span in found.sounds[str(path)]]


def tiled(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    return samples if len(samples) >= 2 * RATE else np.tile(samples, 2 * RATE // len(samples) + 1)


def test_files_folders_and_objects_are_the_same_network(folder: Path) -> None:
    for number, build in enumerate(NETWORKS.values()):
        network, run = build(), folder / f"run-{number}"
        (file,) = run.iterdir()
        for found in (load_network(run), load_network(str(file)), load_network(network)):
            assert type(found) is type(network)
            assert found.layers == network.layers
            assert found.fingerprint() == network.fingerprint()
            assert not found.training
            assert found is not network


def test_only_students_are_students(folder: Path) -> None:
    assert load_student(folder / "run-0").fingerprint() == student().fingerprint()
    for number, name in ((1, "SoundNet5"), (2, "LightCNN")):
        with pytest.raises(FormatError, match=rf"is no student, but a {name} that recognises 3 classes"):
            load_student(folder / f"run-{number}" / "classifier.safetensors")
        with pytest.raises(FormatError, match=r"another kind .*, no student; it needs no import"):
            convert(folder / f"run-{number}" / "classifier.safetensors")
    with pytest.raises(SettingsError, match=r"there is no network .*nowhere.* Give a file that `soundnet-kd distill`"):
        load_network(folder / "nowhere")


def test_features_of_a_finetuned_network(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = finetuned()
    extract(folder / "sounds", folder / "run-1", tmp_path / "whole.h5", workers=0, device="cpu")
    monkeypatch.setattr(extractor, "SAMPLES_AT_ONCE", RATE)
    monkeypatch.setattr(extractor, "SEGMENT_SAMPLES", RATE + 1)
    extract(folder / "sounds", network, tmp_path / "pieces.h5", workers=0, device="cpu")
    for name in ("whole", "pieces"):
        with FeatureCache(tmp_path / f"{name}.h5") as cache:
            assert cache.layers == ("conv1", "pool1", "conv2", "pool2", "conv3", "pool3", "answer")
            assert cache.identity["student"]["architecture"] == "SoundNet5"
            assert cache.identity["student"]["kind"] == "finetuned"
            for sound in ("short", "long"):
                wanted = by_hand(network, tiled(heard(folder / "sounds" / f"{sound}.wav")))
                row = cache.ids.index(f"{sound}.wav")
                for layer, values in wanted.items():
                    np.testing.assert_allclose(
                        cache[layer][row], values, rtol=2e-3, atol=2e-3, err_msg=f"{name} {layer}"
                    )


def test_guesses_of_a_finetuned_network(folder: Path, tmp_path: Path) -> None:
    network = finetuned()
    short, long = folder / "sounds" / "short.wav", folder / "sounds" / "long.wav"
    found = predict(folder / "sounds", folder / "run-1", tmp_path / "out.json", top=3, device="cpu")
    steps = predict(long, folder / "run-1", top=3, per_step=True, device="cpu")
    # The rest of 0.25 s is left out.
    assert [(span.start_seconds, span.end_seconds) for span in steps.sounds[str(long)]] == [(0, 2), (2, 4)]
    samples = heard(long)
    pieces = [softmax(by_hand(network, samples[start : start + 2 * RATE])["answer"]) for start in (0, 2 * RATE)]
    for guesses, wanted in zip(guessed(steps, long), pieces, strict=True):
        assert guesses == pytest.approx(dict(zip(CLASSES, wanted, strict=True)), abs=2e-4)
    assert guessed(found, long)[0] == pytest.approx(dict(zip(CLASSES, np.mean(pieces, axis=0), strict=True)), abs=2e-4)
    wanted = softmax(by_hand(network, tiled(heard(short)))["answer"])
    assert guessed(found, short)[0] == pytest.approx(dict(zip(CLASSES, wanted, strict=True)), abs=2e-4)
    assert (tmp_path / "out.json").read_text(encoding="utf-8").count('"classes"') == 2


def test_guesses_of_networks_from_scratch(folder: Path) -> None:
    long, samples = folder / "sounds" / "long.wav", heard(folder / "sounds" / "long.wav")
    network, binary = from_scratch(), from_scratch("CatsDogs", ("dog",))
    pieces = torch.from_numpy(samples[: 4 * RATE].reshape(4, 1, RATE))
    with torch.inference_mode():
        wanted = network(pieces * 32_768)["classes"].double().softmax(dim=1).numpy()
        centred = pieces - pieces.mean(dim=2, keepdim=True)
        standardised = centred / centred.square().mean(dim=2, keepdim=True).sqrt()
        dogs = 1 / (1 + np.exp(-binary(standardised)["classes"].double().numpy()))
    steps = predict(long, folder / "run-2", top=3, per_step=True, device="cpu")
    assert len(guessed(steps, long)) == 4
    for guesses, row in zip(guessed(steps, long), wanted, strict=True):
        assert guesses == pytest.approx(dict(zip(CLASSES, row, strict=True)), abs=1e-4)
    found = predict(long, folder / "run-3", device="cpu")
    assert guessed(found, long) == [{"dog": pytest.approx(dogs.mean(), abs=1e-4)}]


def test_tags_do_not_exclude_each_other(folder: Path, tmp_path: Path) -> None:
    """A file says it; one of the first version has it in the settings of its training only."""
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    network, file = from_scratch(), tmp_path / "classifier.safetensors"
    network.exclusive = False
    write_network(network, file, {"training": {"loss": "squared_error"}})
    sound = folder / "sounds" / "short.wav"
    with torch.inference_mode():
        logits = network(network.preprocessing(network.preprocessing.read(sound))[None])["classes"][0].double().numpy()
    wanted = dict(zip(CLASSES, 1 / (1 + np.exp(-logits)), strict=True))
    assert guessed(predict(sound, tmp_path, device="cpu"), sound)[0] == pytest.approx(wanted, abs=1e-4)
    with safe_open(file, framework="pt") as opened:
        metadata = {key: value for key, value in opened.metadata().items() if key not in ("kind", "exclusive")}
    save_file(load_file(file), file, metadata)
    assert guessed(predict(sound, tmp_path, device="cpu"), sound)[0] == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize("number", range(6))
def test_scikit_learn_and_peel(number: int, folder: Path, tmp_path: Path) -> None:
    run, network = folder / f"run-{number}", list(NETWORKS.values())[number]()
    layer, sound = network.layers[-2], folder / "sounds" / "long.wav"
    pieces = [slice(None)] if number != 2 else [slice(start * RATE, (start + 1) * RATE) for start in range(4)]
    with torch.inference_mode():
        steps = [network(network.preprocessing(heard(sound)[piece])[None], [layer])[layer] for piece in pieces]
    joined = torch.cat(steps, dim=-1).mean(dim=-1)
    wanted = joined.flatten(2).mean(dim=2).numpy() if joined.ndim == 3 else joined.numpy()
    transformer = SoundNetFeatures(str(run), layer=layer, device="cpu")
    found = transformer.fit([sound]).transform([sound])
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4)
    assert transformer.n_features_out_ == found.shape[1]
    peeled = peel(sound, run, tmp_path, seconds=1).peeled
    assert tuple(peeled.layers) == network.layers
    assert set(peeled.heads) == set(network.class_names)


@pytest.mark.parametrize("number", range(6))
def test_hear_has_scenes_of_all_and_timestamps_of_those_with_even_steps(number: int, folder: Path) -> None:
    model, network = hear.load_model(str(folder / f"run-{number}")), list(NETWORKS.values())[number]()
    audio = torch.from_numpy(np.stack([noise(3.0), noise(3.0)[::-1].copy()]))
    scenes = hear.get_scene_embeddings(audio, model)
    assert scenes.shape == (2, model.scene_embedding_size)
    assert model.scene_layer == ["pool3", "pool3", network.layers[-2], "average", "pool5", "pool3"][number]
    torch.nn.Linear(scenes.shape[1], 2)(scenes).sum().backward()
    if number == 2:
        assert model.timestamp_embedding_size == 0
        with pytest.raises(SettingsError, match="LightCNN has no timestamps: it hears sounds of one length only"):
            hear.get_timestamp_embeddings(audio, model)
        return
    embeddings, timestamps = hear.get_timestamp_embeddings(audio, model)
    assert embeddings.shape == (2, timestamps.shape[1], model.timestamp_embedding_size)
    assert 0 < float(timestamps.diff().mean()) <= 50
    layer = model.timestamp_layer
    assert layer is not None
    with torch.inference_mode():
        whole = network(torch.stack([network.preprocessing.scale(sound)[None] for sound in audio]), [layer])[layer]
    steps = (whole.mean(dim=2) if whole.ndim == 4 else whole).transpose(1, 2)
    first = next(place for place, step in enumerate(steps[0]) if torch.allclose(step, embeddings[0, 0], atol=1e-3))
    inside = steps[:, first : first + embeddings.shape[1]]
    torch.testing.assert_close(embeddings, inside, rtol=1e-3, atol=1e-3)
