"""What both kinds of recipes have in common: variables, what --set changes, and which command takes them."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from soundnet_kd.cli import main
from soundnet_kd.config.raw_yaml import RawText
from soundnet_kd.config.recipes import fill_in, find_recipe, list_recipes, read_recipe, resolve_variables
from soundnet_kd.errors import SettingsError
from soundnet_kd.storage import package_data
from soundnet_kd.supervised.config import ExperimentConfig, read_experiment_config

NETWORK = """about: Not filled in, such as ${epochs}.
variables: {epochs: 3, rate: 1e-3, test: [no, 007], name: null, label: "${name}-x", layout: cats_dogs}
data: {"cats_dogs": {test: "${test}"}}
network: CatsDogs
training: {epochs: "${epochs}", batch_size: 8, learning_rate: "${rate}", augmentation: {mix: 5e-1}}
"""


@pytest.fixture
def network(tmp_path: Path) -> Path:
    (tmp_path / "network.yaml").write_text(NETWORK, encoding="utf-8")
    return tmp_path / "network.yaml"


def read(file: Path, *overrides: str) -> ExperimentConfig:
    return read_experiment_config(file, overrides)


def test_variables_stand_in_recipes_of_networks_as_in_those_of_steps(network: Path) -> None:
    found = read(network)
    assert found.about == "Not filled in, such as ${epochs}."
    assert (found.training.epochs, found.training.learning_rate, found.training.augmentation.mix) == (3, 1e-3, 0.5)
    assert found.identity["data"]["cats_dogs"]["test"] == ("no", "007")
    found = read(network, "epochs=010", "test=[a]", "training.batch_size=${epochs}", "seeds=[1]")
    assert (found.training.epochs, found.training.batch_size, found.seeds) == (10, 10, (1,))
    assert found.identity["data"]["cats_dogs"]["test"] == ("a",)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["epoch=4"], "^a recipe has no key 'epoch'; did you mean 'epochs'"),
        (["training.epochs=${epoch}"], r"^the recipe uses \$\{epoch\} but has no such variable; did you mean 'epochs'"),
        (["data={cats_dogs: {test: '${label}'}}"], "^the recipe needs a value for 'data'; give it with --set name="),
        (["epochs.x=3"], "^--set epochs.x: epochs holds a value, not keys"),
        (["epochs=many"], r"^training\.epochs: expected int, not many"),
    ],
)
def test_wrong_variables_of_a_network_are_told(overrides: list[str], message: str, network: Path) -> None:
    with pytest.raises(SettingsError, match=message):
        read(network, *overrides)


def test_a_variable_is_not_called_as_a_key(network: Path) -> None:
    network.write_text(NETWORK.replace("epochs: 3,", "seeds: 3,"), encoding="utf-8")
    with pytest.raises(SettingsError, match="seeds is a key of recipes; give the variable another name"):
        read(network)


def test_what_is_named_alone_gets_settings() -> None:
    found = read(Path("speech_commands"), "network=NSynthBetter", "network.NSynthBetter.dropout=0.1", "sampling=pieces")
    assert (found.network, found.settings["dropout"]) == ("NSynthBetter", 0.1)
    assert read(Path("cats_dogs"), "sampling=segments", "sampling.segments.seconds=2").identity["sampling"] == {
        "segments": {"seconds": 2.0, "least_peak": 0.4, "steps_per_epoch": 75, "validation_steps": 50}
    }


def test_a_part_of_a_variable_can_be_changed(tmp_path: Path) -> None:
    variables = {"weights": {"objects": RawText("16"), "scenes": RawText("1")}, "both": RawText("${weights}")}
    given = {"weights.objects": RawText("2")}
    assert resolve_variables(variables, given)["both"] == {"objects": "2", "scenes": "1"}
    assert variables["weights"] == {"objects": "16", "scenes": "1"}
    assert fill_in({"a": ["${both}", 3]}, resolve_variables(variables, {}), "x") == {"a": [variables["weights"], 3]}
    recipe = tmp_path / "r.yaml"
    recipe.write_text("variables: {weights: {a: 1}}\nsteps: [distill: {targets: t, out: o}]\n", encoding="utf-8")
    for assignment, message in (("weight.a=2", "did you mean 'weights'"), ("weights.a.b=2", "weights.a holds a value")):
        with pytest.raises(SettingsError, match=message):
            resolve_variables(read_recipe(recipe).variables, dict([assignment.split("=")]))


def test_shipped_recipes_are_known_by_their_keys(capsys: pytest.CaptureFixture[str]) -> None:
    files = package_data("pipelines").glob("*.yaml")
    contents: dict[str, dict[str, Any]] = {
        file.stem: yaml.safe_load(file.read_text(encoding="utf-8")) for file in files
    }
    for command, key in (("run", "steps"), ("train", "network")):
        assert list_recipes("run" if command == "run" else "train") == sorted(
            name for name, content in contents.items() if key in content
        )
    assert main(["train", "--help"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert f"Recipes of this package: {', '.join(list_recipes('train'))}." in told
    assert find_recipe("pipelines/esc50.yaml").is_file()


def test_a_recipe_of_neither_kind_says_what_to_write(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text("about: Nothing.\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="is not a recipe; write about, variables, data, network, training"):
        read(file)
    file.write_text("data: folds\nnetwork: CatsDogs\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="the recipe has no training"):
        read(file)
    file.write_text(f"{NETWORK}sampling: 3\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="there is no sampling '3'; there are pieces, segments"):
        read(file)
