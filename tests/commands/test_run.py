"""Recipes: checked whole before their first step, filled in from variables, found wherever the package is."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torchvision.models import squeezenet1_0

from soundnet_kd import FeatureCache, SoundNet8, load_student
from soundnet_kd.commands.run import run
from soundnet_kd.config.recipes import read_recipe
from soundnet_kd.data import Targets
from soundnet_kd.errors import SettingsError, SoundNetKDError
from soundnet_kd.media import write_audio
from soundnet_kd.models import Preprocessing, write_network
from soundnet_kd.models.classifiers import LightCNN
from soundnet_kd.storage import package_data
from soundnet_kd.supervised.config import read_experiment_config
from soundnet_kd.transfer.ranking import read_ranking
from tests.media_files import sine
from tests.teachers.colours import make_video

RATE = 22_050


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


SHIPPED = sorted(package_data("pipelines").glob("*.yaml"))
FROM_SCRATCH = [path.stem for path in SHIPPED if "network" in yaml.safe_load(path.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("recipe", FROM_SCRATCH)
def test_shipped_recipes_of_networks_are_sound(recipe: str) -> None:
    read = read_experiment_config(Path(recipe))
    assert read.about
    names = ("cat", "dog") if read.training.loss == "cross_entropy" else ("dog",)
    assert read.build(names).class_names == {"classes": names}


@pytest.mark.parametrize(
    ("recipe", "assignments", "message"),
    [
        (
            "wavception",
            ["sampling.pieces.seconds=0.5"],
            r"sampling.pieces.seconds makes pieces of 8000 samples, but WavCeption hears 16000, neither more nor "
            r"less; set sampling.pieces.seconds to 1.0, or network.WavCeption.preprocessing.least_samples to 8000",
        ),
        (
            "wavception",
            ["training.batch_size=1"],
            "training.batch_size is 1, but WavCeption has batch norm over single",
        ),
        (
            "speech_commands",
            ["training.batch_size=1"],
            "batch_size is 1, but LightCNN has batch norm over single",
        ),
        (
            "cats_dogs",
            ["training.batch_size=1", "sampling.segments.seconds=0.05"],
            "batch_size is 1, but CatsDogs has batch norm over single",
        ),
        ("cats_dogs", ["sampling.segments.seconds=0.00001"], "segments.seconds is less than a sample at 16000 Hz"),
        (
            "film_genres",
            ["network=FilmGenresRecurrent", "sampling.pieces.seconds=5"],
            "sampling.pieces.seconds: FilmGenresRecurrent cannot hear pieces of 110250 samples .*no whole tile of",
        ),
    ],
)
def test_settings_that_do_not_fit_each_other_are_refused(recipe: str, assignments: list[str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        read_experiment_config(Path(recipe), assignments).build(("yes", "no"))


def test_a_network_without_batch_norm_over_vectors_learns_from_one_sound_at_a_time() -> None:
    read_experiment_config(Path("cats_dogs"), ["training.batch_size=1"]).build(("dog",))


@pytest.mark.parametrize("recipe", [path.stem for path in SHIPPED if path.stem not in FROM_SCRATCH])
def test_shipped_recipes_are_sound(recipe: str, tmp_path: Path) -> None:
    """Every step is a command with settings that it takes: a first step that fails shows that all were accepted."""
    content = read_recipe(Path(recipe))
    assert content.about
    given = [f"{name}={tmp_path / 'missing'}" for name, value in content.variables.items() if value is None]
    if "objects" in content.variables:
        given.append("objects=resnet18:missing")
    if recipe == "quickstart":
        return  # It needs nothing, so it would run; tests/demo does that.
    with pytest.raises(SoundNetKDError, match="missing"):
        run(Path(recipe), tmp_path / "out", given)


def test_a_mistake_in_a_late_step_stops_before_the_first(tmp_path: Path) -> None:
    recipe = write(
        tmp_path / "r.yaml",
        "variables: {out: x}\nsteps:\n"
        "- demo-world: {out: '${out}/world', videos: 1, frames_per_event: 1, sounds_per_event: 1}\n"
        "- distill: {targets: t, out: o, stepps: 3}\n",
    )
    with pytest.raises(SettingsError, match="distill has no option 'stepps'; did you mean 'steps'"):
        run(recipe, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("objectives=[kl, contrastt]", "there is no objective 'contrastt'; did you mean 'contrast'"),
        ("architecture=LogMelCNNN", "there is no architecture 'LogMelCNNN'; did you mean 'LogMelCNN'"),
        ("steps=0", "steps is 0; it has to be above 0"),
        ("esc50=nothere", "extract: nothere does not exist; check the path"),
    ],
)
def test_what_a_later_step_would_refuse_is_refused_before_the_first(given: str, message: str, tmp_path: Path) -> None:
    """Before the teachers are loaded, of which there is none here."""
    (tmp_path / "videos").mkdir()
    values = [f"videos={tmp_path / 'videos'}", "objects=resnet18:missing", given]
    with pytest.raises(SettingsError, match=message):
        run(Path("distill_strong"), tmp_path / "out", values)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "assignments", "message"),
    [
        ("steps:\n- teech: {}\n", [], "there is no command 'teech'; did you mean 'teach'"),
        ("variables: {videos: null}\nsteps:\n- teach: {videos: '${videos}', out: o}\n", [], "--set videos="),
        ("steps:\n- teach: {videos: v}\n", [], "teach needs a value for 'out'; add it to the step"),
        ("steps:\n- teach: {videos: '${vidoes}', out: o}\n", [], "has no such variable"),
        ("steps: []\n", [], "has no steps"),
        ("steps:\n- teach: videos\n", [], "the settings of teach are 'videos'"),
        ("variables: {seed: 0}\nsteps: [{teach: {}}]\n", ["sed=1"], "no variable 'sed'; did you mean 'seed'"),
        ("variables: {seed: 0}\nsteps: [{teach: {}}]\n", ["seed"], "--set takes name=value"),
        ("stepps: []\n", [], "is not a recipe"),
        ("steps: [{teach: {}}]\nauthor: me\n", [], "has no key 'author'; there are about, variables, steps"),
        ("steps: [", [], "is not YAML: .*line 1"),
        ("", [], "is not a recipe; write about, variables, and steps"),
        ("- a", [], "is not a recipe; write about, variables, and steps"),
        ("variables: 3\nsteps: [{teach: {}}]\n", [], "the variables are 3; write them as name: value"),
        ("variables: [a]\nsteps: [{teach: {}}]\n", [], r"the variables are \[a\]; write them"),
        ("steps: foo\n", [], "the steps are foo; write each as - command: settings"),
        ("steps: {teach: {}}\n", [], "the steps are {teach: {}}; write each as - command: settings"),
        ("steps: [teach]\n", [], "a step is teach; write it as - command: settings"),
        ("variables: &v {a: *v}\nsteps: [{teach: {}}]\n", [], "is not YAML: what holds itself"),
        ("variables: {a: null}\nsteps: [{if_given: b, teach: {}}]\n", [], "if_given is b, no variable of it"),
        ("variables: {a: null}\nsteps: [{if_given: a, teach: {}}]\n", [], "every step .* has no value; .*: a$"),
        ("variables: {a: 1, a: 2}\nsteps: [{teach: {}}]\n", [], "'a' is given twice"),
    ],
)
def test_bad_recipes_are_refused(tmp_path: Path, text: str, assignments: list[str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        run(write(tmp_path / "r.yaml", text), overrides=assignments)


def test_an_unknown_recipe_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"there is no recipe .*those of this package are .*quickstart"):
        run(Path("nothing"))
    with pytest.raises(SettingsError, match=r"there is no recipe distill_stron; did you mean 'distill_strong'\?"):
        run(Path("distill_stron"))
    with pytest.raises(SettingsError, match=r"there is no recipe .*quickstart\.yaml"):
        run(tmp_path / "quickstart.yaml")


def test_a_step_is_left_out_where_its_variable_has_no_value(tmp_path: Path) -> None:
    step = "demo-world: {out: '${out}/%s', videos: 1, frames_per_event: 1, sounds_per_event: 1}\n"
    steps = f"steps:\n- {step % 'one'}- if_given: more\n  {step % '${more}'}"
    recipe = write(tmp_path / "r.yaml", f"variables: {{out: x, more: null}}\n{steps}")
    assert str(run(recipe, tmp_path)).endswith("1 step done")
    assert not (tmp_path / "two").exists()
    assert str(run(recipe, tmp_path, ["more=two"])).endswith("2 steps done")
    assert (tmp_path / "two").is_dir()


def test_values_keep_their_type_and_fill_in_texts(tmp_path: Path) -> None:
    write_audio(tmp_path / "a.wav", np.zeros(100, np.float32), 8000)
    recipe = write(
        tmp_path / "r.yaml",
        "variables: {out: x, count: 2}\nsteps:\n"
        "- demo-world: {out: '${out}/${count} videos', videos: '${count}', frames_per_event: 1, sounds_per_event: 1}\n",
    )
    result = run(recipe, tmp_path, overrides=["count=1"])
    assert len(list((tmp_path / "1 videos" / "videos").glob("*.mp4"))) == 1
    assert str(result).endswith("1 step done")


def test_one_key_of_the_preprocessing_leaves_the_others_to_the_network() -> None:
    changed = read_experiment_config(
        Path("speech_commands"), ["network={LightCNN: {preprocessing: {channel: mean}}}"]
    ).preprocessing
    assert changed == replace(LightCNN(("yes",)).preprocessing, channel="mean")


@pytest.mark.usefixtures("small_soundnet8")
def test_the_recipe_of_the_released_network_makes_one_table(tmp_path: Path) -> None:
    """With a small network, and tones of three kinds in four folds: every layer by every protocol that it is for."""
    rows = ["path,label,fold"]
    for number in range(24):
        name, hertz = (("deep", 200.0), ("middle", 1000.0), ("high", 4000.0))[number % 3]
        write_audio(tmp_path / f"{number}.wav", sine(hertz * (1 + number / 100), 1.0, RATE, 0.3), RATE)
        rows.append(f"{number}.wav,{name},{1 + number // 3 % 4}")
    (tmp_path / "sounds.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    student = tmp_path / "student.safetensors"
    torch.manual_seed(0)
    write_network(SoundNet8({"objects": 3}, Preprocessing(least_samples=11 * RATE)).eval(), student, {})
    joint = "[pool5,conv4+pool5+conv6]"
    values = [
        f"esc50={tmp_path / 'sounds.csv'}",
        f"student={student}",
        "speeds=[1,0.5]",
        f"joint={joint}",
        "device=cpu",
    ]
    run(Path("esc50_released"), tmp_path / "run", values)
    ranked = read_ranking(tmp_path / "run" / "ranking" / "ranking.csv")
    found: dict[str, list[str]] = {}
    for row in ranked:
        found.setdefault(row.name, []).append(row.layer)
    every = sorted(SoundNet8({"objects": 3}).layers)
    assert {name: sorted(layers) for name, layers in found.items()} == {
        "notebook": every, "power": every, "best": every, "paper": ["conv6", "conv7", "pool5"],
        "speeds": ["chosen layers"],
    }  # fmt: skip
    assert max(row.accuracy for row in ranked) == 1.0
    with FeatureCache(tmp_path / "run" / "features" / "speeds.h5") as cache:
        assert (cache.speeds, cache.poolings) == ((1.0, 0.5), ("mean", "std"))
    page = (tmp_path / "run" / "report" / "index.html").read_text(encoding="utf-8")
    assert "pool5 mean+std, shrinkage" in page


@pytest.mark.usefixtures("small_soundnet8")
@pytest.mark.parametrize(
    ("recipe", "given", "dims"),
    [
        ("distill_videos", {}, {}),
        ("distill_strong", {"architecture": "LogMelCNNx0.125"}, {"objects": 512}),
    ],
)
def test_recipes_of_videos_hand_on_how_these_are_labelled(
    recipe: str, given: dict[str, Any], dims: dict[str, int], tmp_path: Path
) -> None:
    """Two frames of each 2.5 s; only one of the recipes keeps features, by which its student learns."""
    make_video(tmp_path / "videos" / "one.mp4", ["red", "green"])
    make_video(tmp_path / "videos" / "two.mp4", ["blue"])
    torch.manual_seed(0)
    torch.save(squeezenet1_0(num_classes=2).state_dict(), tmp_path / "teacher.pth")
    (tmp_path / "classes.txt").write_text("one\ntwo\n")
    values = {
        "videos": tmp_path / "videos", "objects": f"squeezenet1_0:{tmp_path / 'teacher.pth'}", "steps": 1,
        "object_classes": tmp_path / "classes.txt", "step_seconds": 2.5, "frames_per_step": 2, "batch_size": 2,
        "device": "cpu", **given,
    }  # fmt: skip
    run(Path(recipe), tmp_path / "run", [f"{name}={value}" for name, value in values.items()])
    targets = Targets(tmp_path / "run" / "targets")
    assert targets.feature_sizes == dims
    assert [clip.frame_seconds.shape for clip in targets] == [(4, 2), (2, 2)]
    assert load_student(tmp_path / "run" / "student").class_names == {"objects": ("one", "two")}
