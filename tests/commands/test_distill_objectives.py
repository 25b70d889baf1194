"""Students that learn by several objectives at once: what a run leaves, stopped, on two processes, refused."""

import json
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.spatial.distance import pdist
from torch.utils.data import default_collate

from soundnet_kd import SoundNet8, load_student
from soundnet_kd.cli import main
from soundnet_kd.commands.distill import distill
from soundnet_kd.data import LabelledClip, Targets
from soundnet_kd.data.target_parts import TargetsPart
from soundnet_kd.distill.data import HeldOutClips, TrainingStream, held_out_clips
from soundnet_kd.distill.feature_objectives import ContrastSettings, ProjectionSettings
from soundnet_kd.errors import RunConflictError, SettingsError
from soundnet_kd.media import write_audio
from soundnet_kd.models.checkpoint import read_training
from soundnet_kd.storage import read_json
from soundnet_kd.training.augmentation import UNCHANGED_CLIPS, Augmentation, ClipAugmentation
from soundnet_kd.training.callbacks import read_history
from soundnet_kd.training.checkpoints import LEAST_LOSS, BestCheckpoint, last_checkpoint
from tests.processes import run_command
from tests.stops import killed_at_checkpoint
from tests.targets import CLASSES, SAMPLE_RATE, make_targets

pytestmark = pytest.mark.usefixtures("small_soundnet8")

STEPS = 10
OPTIONS = (
    f"--steps {STEPS} --batch_size 2 --held_out 0.3 --device cpu --schedule cosine --gradient_clip 1 "
    "--objectives kl:1 match:0.5 contrast:0.5 relation:2 --projection.width 16 --contrast.queue 10 "
    "--contrast.same_video 0.5 --weight_decay 0.05 --average 0.9 --teacher_weights.scenes 2 "
    "--augmentation.join true --augmentation.shift true --augmentation.mix 0.5"
).split()
DIMS = {"objects": 6, "places": 5}


def clip_of(source: str, steps: int, rng: np.random.Generator, step_seconds: float = 5.0) -> LabelledClip:
    """Give a clip of noise, objects and scenes as distributions, and features of objects and of places."""
    return LabelledClip(
        source,
        0.0,
        (rng.normal(size=round(steps * step_seconds * SAMPLE_RATE)) * 3000).astype(np.int16),
        np.arange(steps, dtype=np.float64) * step_seconds,
        {name: rng.dirichlet(np.ones(len(names)), steps).astype(np.float32) for name, names in CLASSES.items()},
        {name: rng.normal(3, 2, (steps, dims)).astype(np.float32) for name, dims in DIMS.items()},
        step_seconds,
    )


def louder_by_step(clip: LabelledClip) -> LabelledClip:
    """Make each step of a clip louder than the one before, so that the order of steps is heard."""
    steps = len(clip.frame_seconds)
    gain = np.repeat(np.geomspace(0.01, 3, steps), len(clip.sound) // steps)
    return replace(clip, sound=(clip.sound[: len(gain)] * gain).astype(np.int16))


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    clips = [clip_of(f"{number // 2}.mp4", 1 + number % 4, rng) for number in range(11)]
    return make_targets(tmp_path_factory.mktemp("targets"), clips)


@pytest.fixture(scope="module")
def run(targets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run")
    assert main(["distill", str(targets), "--out", str(out), *OPTIONS]) == 0
    return out


def test_every_objective_and_teacher_is_logged_and_drawn(run: Path) -> None:
    history = read_history(run)
    losses = {f"loss_{name}_{teacher}" for name in ("match", "contrast", "relation") for teacher in DIMS}
    losses |= {"loss", "loss_kl_objects", "loss_kl_scenes", "retrieval_objects", "retrieval_places", "chance_places"}
    wanted = {f"{stage}/{name}" for stage in ("train", "validation") for name in losses}
    assert wanted | {"train/temperature_places", "validation/agreement_scenes"} <= history[-1].keys()
    assert all(np.isfinite(value) for row in history for value in row.values())
    for stage in ("train", "validation"):
        row = {name.removeprefix(f"{stage}/loss_"): value for name, value in history[-1].items() if stage in name}
        # Scenes weigh 2 and have no features; places, which have, weigh 1.
        expected = (row["kl_objects"] + 2 * row["kl_scenes"]) / 3
        for name, weight in {"match": 0.5, "contrast": 0.5, "relation": 2}.items():
            expected += weight * (row[f"{name}_objects"] + row[f"{name}_places"]) / 2
        assert history[-1][f"{stage}/loss"] == pytest.approx(expected, rel=1e-5)
    with Image.open(run / "history.png") as image:
        assert image.size == (round(16.5 * 150), round(8.4 * 150))


def test_the_first_step_is_what_its_objectives_come_to_by_hand(tmp_path: Path) -> None:
    """At label steps of 2.5 s, of which the student's logits have half as many, and at a temperature of 2."""
    rng = np.random.default_rng(0)
    clips = [louder_by_step(clip_of(f"{number}.mp4", 8, rng, 2.5)) for number in range(3)]
    targets = Targets(make_targets(tmp_path / "targets", clips))
    projection = ProjectionSettings(layer="pool5", width=16)
    options = {"steps": 3, "batch_size": 3, "held_out": 0.0, "device": "cpu", "learning_rate": 1e-2, "temperature": 2.0}
    options |= {"objectives": ["kl:1", "match:1", "contrast:1", "relation:1"], "projection": projection}
    options |= {"keep_checkpoints": 9, "checkpoint_minutes": 1e-9}
    distill(targets.folder, tmp_path, **options)  # type: ignore[arg-type]

    student = load_student(tmp_path / "untrained.safetensors").train()
    stream = TrainingStream(targets, np.arange(3), UNCHANGED_CLIPS, seed=0)
    batch = default_collate([stream[position] for position in range(3)])
    with torch.no_grad():
        found = student(student.preprocessing.amplify(batch.sound), ["pool5", "conv8"])
    row = read_history(tmp_path)[0]
    middles = [(step + 0.5) / 4 for step in range(4)]
    for name, logits in zip(CLASSES, found["conv8"].split([len(names) for names in CLASSES.values()], 1), strict=True):
        assert logits.shape[2] == 4
        divergences = []
        for clip, step in np.ndindex(3, 8):
            at = [np.interp((step + 0.5) / 8, middles, of_class) for of_class in logits[clip].numpy()]
            heard = np.exp(np.array(at) / 2)
            seen = np.sqrt(batch.distributions[name][clip, :, step].double().numpy())
            heard, seen = heard / heard.sum(), seen / seen.sum()
            divergences.append(4 * (seen * np.log(seen / heard)).sum())
        assert row[f"train/loss_kl_{name}"] == pytest.approx(np.mean(divergences), rel=1e-4)

    layer = found["pool5"]
    length = layer.shape[2]
    stretches = [slice(step * length // 8, -(-(step + 1) * length // 8)) for step in range(8)]
    sounds = torch.stack([layer[clip, :, each].mean(dim=1) for clip in range(3) for each in stretches])
    for name in DIMS:
        seen_by = np.concatenate([clip.features[name] for clip in targets]).astype(np.float64)
        pictures = batch.features[name].transpose(1, 2).flatten(0, 1).double().numpy()
        pictures = (pictures - seen_by.mean(axis=0)) / seen_by.std(axis=0)
        far, wanted = (pdist(each) / pdist(each).mean() for each in (sounds.double().numpy(), pictures))
        apart = np.abs(far - wanted)
        huber = np.where(apart < 1, apart**2 / 2, apart - 0.5).mean()
        assert row[f"train/loss_relation_{name}"] == pytest.approx(huber, rel=1e-4)

    states = [torch.load(tmp_path / "checkpoints" / f"step={step}.ckpt", weights_only=True) for step in (1, 2)]
    before, after = (state["state_dict"] for state in states)
    learning = [name for name in before if name.startswith("objectives.features.") and "queue" not in name]
    assert {name.split(".")[4] for name in learning} == {"sound", "picture", "log_scale"}
    # A step moves each by up to 0.01.
    assert all((before[name] - after[name]).abs().max() > 1e-3 for name in learning)


def test_the_student_says_what_made_it_and_holds_nothing_but_itself(run: Path) -> None:
    expected = {
        "objectives": {"kl": 1.0, "match": 0.5, "contrast": 0.5, "relation": 2.0},
        "projection": {"layer": "conv7", "width": 16, "distance": "cosine"},
        "contrast": {"temperature": 0.07, "queue": 10, "same_video": 0.5, "masked_similarity": 0.9},
        "weight_decay": 0.05,
        "average": 0.9,
    }
    for file in ("student", "best", "averaged"):
        training = read_training(run / f"{file}.safetensors")
        assert {name: training[name] for name in expected} == expected
        assert training["augmentation"]["join"] is True
        assert "objective" not in training
        student = load_student(run / f"{file}.safetensors")
        assert student.state_dict().keys() == SoundNet8(CLASSES).state_dict().keys()
    assert len({load_student(run / f"{file}.safetensors").fingerprint() for file in ("student", "averaged")}) == 2


def test_the_average_is_what_the_checkpoints_come_to(targets: Path, tmp_path: Path) -> None:
    """By hand over the weights of each step: 2/11 of the average is kept at step 2, 3/12 at step 3, then 0.3."""
    options = {"steps": 4, "batch_size": 2, "held_out": 0.0, "device": "cpu", "average": 0.3, "keep_checkpoints": 9}
    distill(targets, tmp_path, **options, checkpoint_minutes=1e-9)  # type: ignore[arg-type]
    states = [torch.load(tmp_path / "checkpoints" / f"step={step}.ckpt", weights_only=True) for step in (1, 2, 3, 4)]
    found = load_student(tmp_path / "averaged.safetensors").state_dict()
    for name in ("conv1.weight", "batchnorm5.running_var", "conv8.objects.bias"):
        average, *later = [state["state_dict"][f"student.{name}"] for state in states]
        for kept, weights in zip((2 / 11, 3 / 12, 0.3), later, strict=True):
            average = kept * average + (1 - kept) * weights
        torch.testing.assert_close(found[name], average)


@pytest.mark.parametrize(("learning_rate", "lower"), [(3e-2, "averaged"), (1e-2, "validation")])
def test_the_average_is_measured_beside_the_weights(
    learning_rate: float, lower: str, targets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Loss and agreement by hand on the clips held out; the best student is of the lowest loss of both."""
    options = f"--steps 5 --batch_size 2 --held_out 0.6 --device cpu --objective kl --learning_rate {learning_rate}"
    more = "--average 0.9 --keep_checkpoints 9 --checkpoint_minutes 0"
    assert main(["distill", str(targets), "--out", str(tmp_path), *options.split(), *more.split()]) == 0
    rows = {int(row["step"]): row for row in read_history(tmp_path)}
    clips = HeldOutClips(Targets(targets), with_features=False)
    held_out = [clips[int(number)] for number in held_out_clips(clips.targets.videos, 0.6, seed=0)[1]]
    for stage, file in {"validation": "student", "averaged": "averaged"}.items():
        student = load_student(tmp_path / f"{file}.safetensors")
        losses: dict[str, list[float]] = {name: [] for name in CLASSES}
        agreed: dict[str, list[bool]] = {name: [] for name in CLASSES}
        for clip in held_out:
            with torch.no_grad():
                answers = student(student.preprocessing.amplify(clip.sound[None]))
            for name, tensor in clip.distributions.items():
                found, wanted = answers[name][0].double().log_softmax(dim=0).numpy(), tensor.double().numpy()
                losses[name] += (wanted * (np.log(wanted) - found)).sum(axis=0).tolist()
                agreed[name] += (wanted.argmax(axis=0) == found.argmax(axis=0)).tolist()
        for name in CLASSES:
            assert rows[5][f"{stage}/loss_{name}"] == pytest.approx(np.mean(losses[name]), rel=1e-3)
            assert rows[5][f"{stage}/agreement_{name}"] == pytest.approx(np.mean(agreed[name]), abs=1e-6)
    measured = [(rows[step][f"{stage}/loss"], step, stage) for step in rows for stage in ("validation", "averaged")]
    _, step, stage = min(measured)
    assert stage == lower
    prefix = {"validation": "student.", "averaged": "averaged.module."}[stage]
    state = torch.load(tmp_path / "checkpoints" / f"step={step}.ckpt", weights_only=True)["state_dict"]
    best = load_student(tmp_path / "best.safetensors").state_dict()
    assert all(torch.equal(tensor, state[f"{prefix}{name}"]) for name, tensor in best.items())
    about = read_training(tmp_path / "best.safetensors")
    assert (about["steps_done"], about.get("weights")) == (step, "averaged" if stage == "averaged" else None)
    last, own = rows[5]["averaged/loss"], rows[5]["validation/loss"]
    assert f"; averaged.safetensors: held-out loss {last:.4f} (student: {own:.4f}), " in capsys.readouterr().out


def test_a_run_whose_average_was_not_measured_yet_keeps_its_best(tmp_path: Path) -> None:
    """Lightning hands a checkpoint's state of the best on to what has the same name."""
    assert BestCheckpoint(tmp_path, LEAST_LOSS).state_key == BestCheckpoint(tmp_path).state_key
    assert BestCheckpoint(tmp_path, "accuracy", "max").state_key != BestCheckpoint(tmp_path).state_key


def test_weights_decay_but_neither_biases_nor_batch_norm(targets: Path, tmp_path: Path) -> None:
    options = {"steps": 1, "batch_size": 2, "held_out": 0.0, "device": "cpu"}
    for name, decay in {"with": 0.5, "without": 0.0}.items():
        distill(targets, tmp_path / name, **options, weight_decay=decay)  # type: ignore[arg-type]
    start, decayed, plain = (
        load_student(tmp_path / name).state_dict() for name in ("with/untrained.safetensors", "with", "without")
    )
    for name, tensor in start.items():
        # AdamW takes the rate times the decay off before Adam's own step, which is the same.
        taken = 1e-3 * 0.5 * tensor if tensor.ndim > 1 else 0
        torch.testing.assert_close(plain[name] - decayed[name], taken + torch.zeros_like(tensor), rtol=1e-3, atol=1e-7)


def test_a_killed_run_ends_as_if_it_had_not_been_stopped(run: Path, targets: Path, tmp_path: Path) -> None:
    """Queue, temperature, projections, average and optimizer go on where they were, to the bit."""
    out = tmp_path / "stopped"
    arguments = ["distill", str(targets), "--out", str(out), *OPTIONS]
    prepare = killed_at_checkpoint(out / "checkpoints", small=True)
    assert run_command([*arguments, "--checkpoint_minutes", "0"], tmp_path / "log.txt", prepare) == -signal.SIGKILL
    assert not (out / "student.safetensors").exists()
    assert main(arguments) == 0
    for name in ("student", "best", "averaged"):
        file = f"{name}.safetensors"
        assert load_student(out / file).fingerprint() == load_student(run / file).fingerprint()
    states = []
    for folder in (out, run):
        checkpoint = last_checkpoint(folder)
        assert checkpoint is not None
        states.append(torch.load(checkpoint, weights_only=True)["state_dict"])
    assert {"objectives.features.contrast.places.queue", "averaged.module.conv1.weight"} <= states[0].keys()
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())
    found, wanted = (
        [
            {name: value for name, value in row.items() if "loss" in name or "temperature" in name}
            for row in read_history(each)
        ]
        for each in (out, run)
    )
    assert found == wanted


@pytest.mark.slow
def test_two_processes_learn_as_one_does(targets: Path, tmp_path: Path) -> None:
    """Every loss, in training and on 5 held-out clips, which two processes do not divide equally.

    At so low a rate rounding does not grow from step to step; that gradients are the same is tested with `gathered`.
    """
    options = {"steps": 3, "batch_size": 2, "learning_rate": 1e-8, "held_out": 0.6, "device": "cpu", "average": 0.9}
    for name, devices in {"one": 1, "two": 2}.items():
        distill(
            targets,
            tmp_path / name,
            objectives=["soundnet:0.1", "match:1", "contrast:1", "relation:1"],
            contrast=ContrastSettings(queue=12, same_video=0.5),
            projection=ProjectionSettings(layer="pool5", width=16),
            **options,  # type: ignore[arg-type]
            devices=devices,
        )
    one, two = read_history(tmp_path / "one"), read_history(tmp_path / "two")
    columns = [name for name in one[0] if "loss" in name or "temperature" in name]
    assert len(columns) == 3 * 9 + 2
    for column in columns:
        found, wanted = ([row[column] for row in rows if column in row] for rows in (two, one))
        assert found == pytest.approx(wanted, rel=1e-4), column


def test_without_distributions_the_heads_stay_as_they_were(
    targets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [
        "--steps",
        "2",
        "--batch_size",
        "2",
        "--held_out",
        "0.3",
        "--device",
        "cpu",
        "--objectives",
        "contrast",
        "relation:1",
    ]
    more = ["--projection.layer", "pool5"]
    assert main(["distill", str(targets), "--out", str(tmp_path), *options, *more]) == 0
    assert (
        "the heads objects, scenes do not learn, since no objective compares distributions" in capsys.readouterr().err
    )
    start, trained = (load_student(tmp_path / name).state_dict() for name in ("untrained.safetensors", ""))
    changed = {int(name.split(".")[0][-1]) for name, tensor in start.items() if not torch.equal(tensor, trained[name])}
    assert changed == {1, 2, 3, 4, 5}
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "Its answers were not\nlearned with them." in card
    assert "first guess" not in card
    assert "| layer compared with features | pool5 |" in card
    assert "(chance " in card
    assert "validation/agreement_objects" not in read_history(tmp_path)[-1]


@pytest.mark.parametrize(("step_seconds", "layer"), [(2.5, "conv7"), (1.25, "conv6")])
def test_labels_of_shorter_steps_are_learned(step_seconds: float, layer: str, tmp_path: Path) -> None:
    """Features by a layer that has a step for each: of the 15 steps of conv7 some would be the same for two of 16."""
    rng = np.random.default_rng(0)
    clips = [clip_of(f"{number}.mp4", round(20 / step_seconds) - number, rng, step_seconds) for number in range(4)]
    targets = make_targets(tmp_path / "targets", clips)
    assert Targets(targets).steps_per_clip == round(20 / step_seconds)
    options = {"steps": 2, "batch_size": 2, "held_out": 0.3, "device": "cpu"}
    distill(targets, tmp_path / "plain", **options)  # type: ignore[arg-type]
    distill(targets, tmp_path / "more", objectives=["kl", "contrast"], **options)  # type: ignore[arg-type]
    assert read_json(tmp_path / "more" / "run.json")["projection"]["layer"] == layer
    assert all(np.isfinite(row["train/loss"]) for name in ("plain", "more") for row in read_history(tmp_path / name))


@pytest.mark.parametrize("layer", [None, "conv4"])
def test_a_student_over_spectrograms_learns_by_them_too(layer: str | None, targets: Path, tmp_path: Path) -> None:
    """Also by a layer that has rows of frequencies; what the default layer hears is all but the heads."""
    distill(
        targets,
        tmp_path,
        architecture="LogMelCNN",
        width=0.125,
        objectives=["match", "contrast", "relation"],
        projection=ProjectionSettings(layer=layer, width=16),
        steps=2,
        batch_size=2,
        held_out=0.3,
        device="cpu",
    )
    assert read_json(tmp_path / "run.json")["projection"]["layer"] == (layer or "pool5")
    start, trained = (dict(load_student(tmp_path / name).named_parameters()) for name in ("untrained.safetensors", ""))
    stayed = {name.split(".")[0] for name, each in start.items() if torch.equal(each, trained[name])}
    assert stayed == ({"conv6"} if layer is None else {"conv5", "batchnorm5", "conv6"})


def test_a_run_without_them_says_what_it_always_said(targets: Path, tmp_path: Path) -> None:
    """From Python the augmentation of other trainings is taken too."""
    options = {"steps": 1, "batch_size": 2, "held_out": 0.0, "device": "cpu", "augmentation": Augmentation(shift=True)}
    distill(targets, tmp_path, **options)  # type: ignore[arg-type]
    settings = read_json(tmp_path / "run.json")
    assert settings["objective"] == "soundnet"
    assert settings["augmentation"] == {"shift": True, "mix": 0.0, "gain_db": 0.0, "noise": 0.0}
    assert not settings.keys() & {"objectives", "projection", "contrast", "weight_decay", "average"}
    (state,) = (tmp_path / "checkpoints").glob("step=1.ckpt")
    names = torch.load(state, weights_only=True)["state_dict"].keys()
    assert all(name.startswith("student.") for name in names)


def test_features_that_nothing_compares_are_not_read(
    targets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the student is the same, to the bit, as of targets that have none."""
    (tmp_path / "plain").mkdir()
    plain = make_targets(tmp_path / "plain", [replace(clip, features={}) for clip in Targets(targets)])
    monkeypatch.setattr(TargetsPart, "_features", lambda *_: pytest.fail("features were read"))
    augmentation = ClipAugmentation(join=True, shift=True, mix=0.5)
    for folder, out in ((targets, "with"), (plain, "without")):
        distill(
            folder,
            tmp_path / out,
            objectives=["kl"],
            steps=2,
            batch_size=2,
            held_out=0.3,
            device="cpu",
            augmentation=augmentation,
        )
    assert load_student(tmp_path / "with").fingerprint() == load_student(tmp_path / "without").fingerprint()


def test_other_objectives_are_another_run(run: Path, targets: Path) -> None:
    with pytest.raises(RunConflictError, match=r"objectives\.kl was 1\.0, now 2\.0"):
        distill(targets, run, objectives=["kl:2", "match:0.5", "contrast:0.5", "relation:2"], steps=STEPS, device="cpu")


def test_objectives_may_be_written_as_the_runs_settings_have_them(targets: Path, tmp_path: Path) -> None:
    """From Python, in a file of options, and in a recipe, whose settings are read in the same way."""
    options = {"steps": 1, "batch_size": 2, "held_out": 0.3, "device": "cpu"}
    weights = {"kl": 1.0, "relation": 0.5}
    distill(targets, tmp_path / "python", objectives=weights, **options)  # type: ignore[arg-type]
    (tmp_path / "options.yaml").write_text(json.dumps({**options, "objectives": weights}))
    words = ["distill", str(targets), "--out", str(tmp_path / "file"), "--config", str(tmp_path / "options.yaml")]
    assert main(words) == 0
    for name in ("python", "file"):
        assert read_json(tmp_path / name / "run.json")["objectives"] == weights


def test_what_cannot_be_done_is_refused_before_anything_is_written(targets: Path, tmp_path: Path) -> None:
    out, contrast = tmp_path / "out", ["contrast:1"]
    refused: list[tuple[dict[str, object], str]] = [
        ({"objective": "contrast"}, "no objective 'contrast' that stands alone; give --objectives contrast:1,"),
        ({"objective": "lk"}, "there is no objective 'lk'; there are soundnet, kl, l2"),
        ({"objectives": ["contrats"]}, "there is no objective 'contrats'; did you mean 'contrast'"),
        ({"objectives": ["kl:0", "match:0"]}, "the weights of all objectives"),
        (
            {"objectives": contrast, "objective": "kl"},
            "objective is kl, and objectives are contrast:1; name all",
        ),
        ({"objectives": contrast, "contrast": ContrastSettings(queue=26)}, "queue is 26, but there are only 26"),
        ({"objectives": contrast, "projection": ProjectionSettings(layer="pool9")}, "no layer 'pool9'; did you mean"),
        ({"objectives": contrast, "projection": ProjectionSettings(layer="conv8")}, "conv8, the heads themselves"),
        (
            {"contrast": ContrastSettings(temperature=0.1)},
            "contrast is for the objective contrast; give --objectives soundnet:1 contrast:1, or",
        ),
        (
            {"contrast": ContrastSettings(queue=5), "objectives": {"kl": 1.0, "match": 0.5}},
            "give --objectives kl:1 match:0.5 contrast:1, or leave it out",
        ),
        ({"projection": ProjectionSettings(width=9)}, "projection is for the objectives match, contrast, relation"),
        ({"objectives": contrast, "average": 1.0}, "average is 1.0; it is a decay"),
        ({"weight_decay": -0.1}, "weight_decay is -0.1"),
        ({"objectives": contrast, "teacher_weights": {"objects": 0.0, "places": 0.0}}, "the weights of all teachers"),
    ]
    for options, message in refused:
        with pytest.raises(SettingsError, match=message):
            distill(targets, out, steps=1, batch_size=2, held_out=0.0, device="cpu", **options)  # type: ignore[arg-type]
        assert not out.exists()


def test_targets_without_features_say_how_to_make_some(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    clip = clip_of("0.mp4", 1, rng)
    targets = make_targets(tmp_path / "targets", [replace(clip, features={})])
    with pytest.raises(SettingsError, match=r"match needs .*targets holds none; .*`soundnet-kd teach --keep_fea"):
        distill(targets, tmp_path / "out", objectives=["kl", "match"], steps=1, batch_size=1, device="cpu")


def test_teachers_without_classes_need_one_with_classes_beside_them(tmp_path: Path) -> None:
    clip = replace(clip_of("0.mp4", 1, np.random.default_rng(0)), distributions={})
    targets = make_targets(tmp_path / "targets", [clip], classes={})
    for objectives in (["kl"], ["match"]):
        with pytest.raises(SettingsError, match=r"no teacher of .*targets has classes.*with one more teacher"):
            distill(targets, tmp_path / "out", objectives=objectives, steps=1, batch_size=1, device="cpu")


@pytest.mark.parametrize(
    ("objectives", "hearing"), [(["match"], "match"), (["kl", "contrast", "match"], "match and contrast")]
)
def test_objectives_that_could_teach_nothing_are_refused(
    objectives: list[str], hearing: str, run: Path, targets: Path, tmp_path: Path
) -> None:
    """They hear a layer of which nothing learns, though the heads may."""
    with pytest.raises(
        SettingsError, match=f"nothing up to conv7 learns, which {hearing} would teach: .*let it be conv7 or an earlier"
    ):
        distill(targets, tmp_path, objectives=objectives, init=run, freeze="conv8", steps=1, batch_size=1, device="cpu")
    assert not list(tmp_path.iterdir())


def test_heads_that_were_never_taught_are_told_when_they_are_asked(
    run: Path, targets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A weight of 0 leaves a head as it was drawn; a later training may teach it."""
    write_audio(tmp_path / "a.wav", np.zeros(5 * SAMPLE_RATE, np.float32) + 0.1, SAMPLE_RATE)
    options = ["--steps", "1", "--batch_size", "2", "--held_out", "0.3", "--device", "cpu"]
    words = ["distill", str(targets), *options, "--objectives", "kl", "contrast", "--out"]
    assert main([*words, str(tmp_path / "one"), "--teacher_weights.scenes", "0"]) == 0
    assert "the head scenes does not learn, since the weight of its teacher is 0" in capsys.readouterr().err
    assert load_student(tmp_path / "one").untaught_heads == ("scenes",)
    card = (tmp_path / "one" / "README.md").read_text(encoding="utf-8")
    assert "3 objects, 2 scenes (not taught)" in card
    assert "soundnet-kd predict" in card
    warning = "this SoundNet8 was never taught scenes, so that what it answers there means nothing"
    assert main(["predict", str(tmp_path / "a.wav"), "--student", str(tmp_path / "one")]) == 0
    assert warning in capsys.readouterr().err
    assert main(["predict", str(tmp_path / "a.wav"), "--student", str(run)]) == 0
    assert "never taught" not in capsys.readouterr().err
    assert main([*words, str(tmp_path / "two"), "--init", str(tmp_path / "one")]) == 0
    assert load_student(tmp_path / "two").untaught_heads == ()
    again = ["distill", str(targets), *options, "--objectives", "contrast", "--out", str(tmp_path / "three"), "--init"]
    assert main([*again, str(tmp_path / "one")]) == 0
    assert load_student(tmp_path / "three").untaught_heads == ("scenes",)
