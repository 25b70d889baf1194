"""The command `extract`: a network's layers for every sound of a data set, in a feature cache."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal, get_args

from soundnet_kd.config.values import require_speeds
from soundnet_kd.data import Manifest, read_manifest
from soundnet_kd.data.checks import announce, require_whole_folds
from soundnet_kd.errors import MediaError, SettingsError
from soundnet_kd.features.cache_joining import (
    IDENTITY_FILE,
    ExtractResult,
    begun_identity,
    claim_shards,
    finish_cache,
    found_cache,
    parts_folder,
    pass_folders,
)
from soundnet_kd.features.cache_writer import Extraction, do_job, waiting_shards, write_parts
from soundnet_kd.features.extractor import FeatureExtractor
from soundnet_kd.features.pooling import PoolingOrNone, poolings_of
from soundnet_kd.inference.backends import BackendOrAuto, Precision
from soundnet_kd.inference.prepared import Engine
from soundnet_kd.media import DEADLINE_MINUTES, Channel, RawAudioDecoder
from soundnet_kd.media.output_folder import output_file
from soundnet_kd.media.stored import address_of, local_path
from soundnet_kd.models import Network, choose_device
from soundnet_kd.pretrained import load_network
from soundnet_kd.shards.engine import require_engine, shard_engine
from soundnet_kd.shards.jobs import Job
from soundnet_kd.storage import FAILURES_SUFFIX, ensure_same_settings, lock_folder, versions


def extract(
    sounds: str | Path | Manifest | Iterable[str | Path],
    student: str | Path | Network = "soundnet8",
    out: str | Path = "features.h5",
    layers: Sequence[str] | None = None,
    pooling: PoolingOrNone | Sequence[PoolingOrNone] = "mean",
    speeds: Sequence[float] = (1.0,),
    sequences: bool = False,
    rate: Literal["model", "native"] = "model",
    channel: Channel | None = None,
    batch_size: int = 16,
    workers: int | None = None,
    deadline_minutes: float = DEADLINE_MINUTES,
    device: str = "auto",
    backend: BackendOrAuto = "auto",
    precision: Precision = "32",
    dry_run: bool = False,
    shard: str | None = None,
    engine: Literal["here", "ray"] = "here",
    address: str | None = None,
    networks: int | None = None,
    decoders: int | None = None,
) -> ExtractResult:
    """Compute the layers of a network for every sound of a data set, and keep them in a file.

    Stopped and started again with the same settings, it goes on where it was. Sounds that cannot be read are left out
    and named, with the reason, in a table beside the cache. Sounds may be hours long.

    Parameters
    ----------
    sounds : str or Path or Manifest, or several paths
        Folder in the layout of ESC-50 or UrbanSound8K, CSV file with a column "path" and optionally "label", "fold" or
        "split" and others that are carried along, text file (.txt) with a path on each line, any other folder (a
        sound's label is the sub-folder that it lies in; train, validation and test are a split), one or more files and
        folders, or tars as WebDataset writes them ('shards/*.tar', 'shards/{00000..01234}.tar', a folder of them), with
        the values of their JSON files as columns and .cls files as labels; each also under an address such as
        s3://bucket/sounds.
    student : str or Path or Network
        A network: the file of a student, a fine-tuned network or one from scratch, the run folder of `soundnet-kd
        distill`, `finetune` or `train` that holds one, or a name (`soundnet-kd weights list`); soundnet8, the released
        network, is fetched when it is first needed (54 MB).
    out : str or Path
        File to write, or an address such as s3://bucket/features.h5, where it is put when it is whole.
    layers : sequence of str, optional
        Layers to keep, such as [conv5, pool5]. [default: all]
    pooling : str, or several
        What becomes of a layer's steps over time: mean, max, std (standard deviation), several of these such as [mean,
        std] (`evaluate` joins them; the others take the first), or none (whole sequences only). Of layers over
        frequency and time the means over frequency are taken first.
    speeds : sequence of float
        Hear each sound at several speeds, such as [0.8, 1, 1.25], pitch and all, and average what is pooled: features
        that vary less with how a sound happened to be recorded. [default: 1, as it is]
    sequences : bool
        Keep the whole sequences over time beside what is pooled.
    rate : str
        Rate at which sounds are heard: model (what the network learned at) or native (each file's own, not resampled,
        as in the ESC-50 notebook).
    channel : str, optional
        How several channels become one: first or mean. [default: as the network learned]
    batch_size : int
        Sounds of equal length that the network hears together.
    workers : int, optional
        Processes that decode, beside a GPU, or in turn with a network on a CPU; 0 decodes in this one. [default: one
        for each core, none for a handful of sounds]
    deadline_minutes : float
        Longest time for decoding one sound. A sound that takes longer, or gives no data for ten minutes, is left out.
        With --workers 0, a decoder that hangs within a single packet cannot be stopped.
    device : str
        Where the network runs: auto, cpu, cuda, cuda:1, mps.
    backend : str
        What runs it: torch; openvino or onnxruntime (extras of those names), which agree with it to within 1e-5; auto
        takes the fastest that is installed: torch for students. The cache says which it was. Sounds of more than a
        minute are heard in segments, a student's layers by torch.
    precision : str
        32, or bf16: features within a hundredth of those of 32, faster where the device has bfloat16 instructions.
    dry_run : bool
        Say how the data set is read, and stop: nothing is decoded or written.
    shard : str, optional
        Which of several jobs this is, such as 3/64, the third of 64 that share the sounds: on other machines of a
        cluster, or in other terminals, with the same --out. When all are done, `soundnet-kd join OUT` joins them; so
        does the same command without --shard, which does what is missing first. The result is the same as that of one
        job.
    engine : {"here", "ray"}
        What does the work: this process and those that it starts, or Ray (`pip install "soundnet-kd[ray]"`): the
        machines of its cluster, or this one. Both write the same.
    address : str, optional
        A running Ray cluster that this machine belongs to, as HOST:PORT, or auto. All its machines have to see the
        sounds and --out at the same places. [default: what RAY_ADDRESS says, else a Ray of its own on this machine]
    networks : int, optional
        With Ray: processes with networks. [default: one for each GPU, or one on each machine]
    decoders : int, optional
        With Ray: sounds that are decoded at the same time. [default: one for each CPU]

    Raises
    ------
    RunConflictError
        If `out` holds the features of another network, of other sounds, or made with other settings, or if
        another run is writing to it.
    MediaError
        If not a single sound could be read.
    FormatError
        If some labelled sounds have a fold and others do not.
    """
    require_engine(engine, address, networks, decoders, shard, workers)
    stored = address_of(out)
    if stored is not None and not dry_run:
        if shard is not None or engine != "here":
            option = f"--shard {shard}" if shard is not None else f"--engine {engine}"
            raise SettingsError(
                f"{option} needs an --out that all machines see as a folder, not {stored}; give a path, and copy the "
                "file later"
            )
        with output_file(stored, FAILURES_SUFFIX) as path:
            found = extract(
                sounds,
                student,
                path,
                layers,
                pooling,
                speeds,
                sequences,
                rate,
                channel,
                batch_size,
                workers,
                deadline_minutes,
                device,
                backend,
                precision,
            )
        return replace(found, out=Path(stored))
    out = local_path(out)
    job = None if shard is None else Job.parse(shard)
    if out.is_dir():
        raise SettingsError(f"{out} is a folder; --out names the file to write, such as {out / 'features.h5'}")
    poolings = poolings_of(pooling)
    _check(speeds, rate, channel, sequences or not poolings, batch_size, workers)
    manifest = sounds if isinstance(sounds, Manifest) else _read_sounds(sounds, out)
    if not len(manifest):
        raise MediaError("there are no sounds to extract features of; give files or folders")
    reading = announce(sounds, manifest, dry_run=dry_run)
    require_whole_folds(manifest)
    if dry_run:
        return ExtractResult(out, len(manifest), (), {}, reading=reading)
    network = load_network(student)
    wanted = network.layers if layers is None else (layers,) if isinstance(layers, str) else tuple(layers)
    if not wanted:
        raise SettingsError(f"no layers are asked for; {network.architecture} has {', '.join(network.layers)}")
    wanted = tuple(sorted(set(wanted), key=network.depth))
    preprocessing = network.preprocessing
    store = RawAudioDecoder(None if rate == "native" else preprocessing.sample_rate, channel or preprocessing.channel)
    sequences = sequences or not poolings
    # It is handed to Ray from this machine's CPU.
    network = network.to(choose_device(device if engine == "here" else "cpu"))
    runs_it = Engine(backend, precision)
    runs_it.choose(network, len(manifest))
    identity: dict[str, Any] = {
        "student": network.identity,
        "sounds": manifest.identity,
        "settings": {
            "preprocessing": asdict(preprocessing) | asdict(store),
            "layers": list(wanted),
            "pooling": poolings[0] if poolings else "none",
            **({"poolings": list(poolings)} if len(poolings) > 1 else {}),
            **({"speeds": list(speeds)} if tuple(speeds) != (1.0,) else {}),
            "sequences": sequences,
            **({"precision": precision} if precision != "32" else {}),
        },
        "versions": versions(),
    }
    fields = {layer: network.receptive_field(layer) for layer in wanted}
    step_samples = {layer: field.stride for layer, field in fields.items() if field is not None}
    if out.exists():
        return found_cache(out, identity)
    folder = parts_folder(out)
    with (
        shard_engine(engine, folder, device, address, networks, decoders, shard) as ray,
        lock_folder(folder, "" if job is None else job.name),
    ):
        if out.exists():
            # Another run has finished since.
            return found_cache(out, identity)
        ensure_same_settings(folder / IDENTITY_FILE, identity)
        extractor = FeatureExtractor(network, wanted, pooling, sequences, runs_it, len(manifest))
        works = [
            Extraction(
                of_pass.absolute(),
                extractor,
                store if speed == 1 else replace(store, sample_rate=round(preprocessing.sample_rate / speed)),
                sequences,
                batch_size,
                None if ray is None else ray.device,
            )
            for of_pass, speed in zip(pass_folders(out, speeds), speeds, strict=True)
        ]
        if job is not None:
            # The sounds of a shard go through the network together, so many at a time.
            ensure_same_settings(folder / "jobs.json", {"batch_size": batch_size})
            cut = [waiting_shards(work, manifest.clips, of_others=True) for work in works]
            shards = claim_shards(job, out, cut, manifest, identity, step_samples)
            done = do_job(job, works, shards, workers, deadline_minutes)
            return ExtractResult(out, done.used, wanted, {}, job=replace(done, out=out))
        passes = []
        for number, (work, speed) in enumerate(zip(works, speeds, strict=True)):
            name = "extract" if len(speeds) == 1 else f"extract ({number + 1} of {len(speeds)}, speed {speed:g})"
            passes.append(write_parts(work, manifest.clips, workers, deadline_minutes, name, ray))
        return finish_cache(out, passes, manifest, identity, step_samples)


def _read_sounds(sounds: str | Path | Iterable[str | Path], out: Path) -> Manifest:
    """Read the sounds, or what they were taken for when this was begun, before files .cls in tars named classes."""
    places = sounds if isinstance(sounds, str | Path) else list(sounds)
    manifest = read_manifest(places)
    begun = begun_identity(out)
    if begun is None or begun.get("sounds") == manifest.identity:
        return manifest
    before = read_manifest(places, class_files=False)
    return before if before.identity == begun.get("sounds") else manifest


def _check(
    speeds: Sequence[float], rate: str, channel: str | None, sequences: bool, batch_size: int, workers: int | None
) -> None:
    for name, value, known in (
        ("rate", rate, ("model", "native")),
        ("channel", channel, (None, *get_args(Channel))),
    ):
        if value not in known:
            raise SettingsError(f"{name} is {value!r}; choose one of {', '.join(filter(None, known))}")
    if require_speeds(speeds) != (1.0,) and (sequences or rate == "native"):
        raise SettingsError(
            "at other speeds a sound has other steps, and another rate; leave --speeds out, or --sequences, --pooling "
            "none and --rate native"
        )
    if batch_size < 1:
        raise SettingsError(f"batch_size is {batch_size}; a batch has at least one sound")
    if workers is not None and workers < 0:
        raise SettingsError(f"workers is {workers}; it has to be at least 0, which decodes in this process")
