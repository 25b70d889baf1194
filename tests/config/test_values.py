"""Values are what was typed: on the command line, behind --set, in a --config file and in recipes alike."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from soundnet_kd.cli import main
from soundnet_kd.cli.arguments import parse
from soundnet_kd.cli.steps import run_steps
from soundnet_kd.commands.run import run
from soundnet_kd.config.raw_yaml import RawText, read_yaml
from soundnet_kd.config.recipes import read_recipe
from soundnet_kd.config.values import parse_value
from soundnet_kd.errors import SettingsError, SoundNetKDError
from soundnet_kd.supervised.config import read_experiment_config
from soundnet_kd.training.augmentation import ClipAugmentation

LIKE_NUMBERS = ["007", "010", "1_000", "22:05", "1e3", "1e-3", "0x10", "0o17", ".5", "1.", "+5", ".inf", "2024-01-01"]
LIKE_WORDS = ["on", "off", "yes", "no", "true", "None", "nan", "=", "<<"]
OTHERS = ["C:\\new", "١٢", "a b", "a'b", 'a"b', "犬", "a#b", "a:b", "1,5", "a$b"]
PLAIN = [*LIKE_NUMBERS, *LIKE_WORDS, *OTHERS]
"""YAML needs no quotes around these."""
QUOTED = [
    " a ",
    "a # b",
    "a: b",
    "{a}",
    "{a: 1}",
    "[a, b]",
    "*a",
    "&a",
    "!a",
    "%a",
    "@a",
    "`a`",
    '"a"',
    "'a'",
    "-",
    "- a",
]
QUOTED += ["?", "|", "null", "~"]
"""Around these it does."""


@pytest.mark.parametrize("text", [*PLAIN, *QUOTED])
def test_a_path_is_what_was_typed(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`weights verify` names the file that it looks for."""
    monkeypatch.chdir(tmp_path)
    written = text if text in PLAIN else "'" + text.replace("'", "''") + "'"
    recipes = {
        "config.yaml": f"file: {written}\n",
        "steps.yaml": f"steps:\n- weights verify:\n    file: {written}\n",
        "set.yaml": "variables: {in: null}\nsteps: [weights verify: {file: '${in}'}]\n",
        "inner.yaml": f"variables:\n  in: {written}\nsteps: [weights verify: {{file: '${{in}}/x'}}]\n",
    }
    for name, content in recipes.items():
        Path(name).write_text(content, encoding="utf-8")
    for arguments, path in (
        (["weights", "verify", text], text),
        (["weights", "verify", "--config", "config.yaml"], text),
        (["run", "steps.yaml"], text),
        (["run", "set.yaml", "--set", f"in={text}"], text),
        (["run", "inner.yaml"], f"{text}/x"),
        (["run", "inner.yaml", "--set", f"in={text}"], f"{text}/x"),
    ):
        assert main(arguments) == 1
        said = capsys.readouterr().err.removeprefix("step 1 of 1: weights verify\n")
        assert said == f"soundnet-kd: there is no file {path} to verify\n", arguments


def test_a_recipe_writes_to_the_folder_that_was_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("r.yaml").write_text(
        "variables: {out: x}\n"
        "steps: [demo-world: {out: '${out}', videos: 0, frames_per_event: 0, sounds_per_event: 0}]\n"
    )
    assert main(["run", "r.yaml", "--set", "out=007"]) == 0
    assert main(["run", "r.yaml", "--out", "${on}"]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["${on}", "007", "r.yaml"]


def each_way(tmp_path: Path, command: str, name: str, text: str) -> list[Callable[[], Any]]:
    """Give an option of a command in each of the four ways; the others that it needs are texts that do not matter."""
    needed = {
        "distill": ("targets", "out"),
        "compare": ("results", "baseline", "out"),
        "finetune": ("sounds", "student", "out"),
    }
    place, *flags = needed[command]
    words = [command, "x", *(word for flag in flags for word in (f"--{flag}", "x"))][1:]
    config = tmp_path / "config.yaml"
    config.write_text(f"{name}: {text}\n", encoding="utf-8")
    whole = dict.fromkeys((place, *flags), "x")
    return [
        lambda: parse(command, [*words, f"--{name}={text}"])[name],
        lambda: parse(command, [*words, "--config", str(config)])[name],
        lambda: parse(command, {**whole, **read_yaml(f"{name}: {text}")})[name],
        lambda: parse(command, {**whole, name: RawText(text)})[name],
    ]


@pytest.mark.parametrize(
    ("command", "name", "wanted"),
    [
        ("distill", "steps", {"7": 7, "007": 7, "010": 10, "1_000": 1000, "0x10": 16, "+5": 5, "0o17": 15, "0b11": 3}),
        (
            "distill",
            "temperature",
            {"2": 2.0, "1e3": 1e3, "1e-3": 1e-3, ".5": 0.5, "1.": 1.0, "1_000": 1e3, "010": 10.0},
        ),
        ("distill", "temperature", {".inf": float("inf")}),
        ("distill", "gradient_clip", {"null": None, "2": 2.0, "5e-1": 0.5}),
        ("distill", "workers", {"null": None, "02": 2}),
        ("distill", "precision", {"32": "32", "bf16": "bf16"}),
        ("distill", "device", {"007": "007", "no": "no", "1e3": "1e3"}),
        ("distill", "teacher_weights", {"{objects: 1e1, 007: 2}": {"objects": 10.0, "007": 2.0}, "null": None}),
        ("finetune", "scratch", {"yes": True, "on": True, "True": True, "no": False, "off": False, "FALSE": False}),
        ("finetune", "layer", {"null": None, "007": "007", "off": "off"}),
        (
            "compare",
            "names",
            {"[1, 2.0]": ["1", "2.0"], "[no, 007, 1e5]": ["no", "007", "1e5"], "1": ["1"], "null": None},
        ),
        ("compare", "names", {"['null', \"a, b\"]": ["null", "a, b"]}),
    ],
)
def test_the_parameter_says_what_a_value_is(command: str, name: str, wanted: dict[str, Any], tmp_path: Path) -> None:
    for text, value in wanted.items():
        for way in each_way(tmp_path, command, name, text):
            found = way()
            assert (found, type(found)) == (value, type(value)), text


@pytest.mark.parametrize(
    ("command", "name", "texts", "wanted"),
    [
        ("distill", "steps", ["1e3", "1.0", "true", "22:05", "2024-01-01", "many", "[1]", "1_"], "int"),
        ("distill", "workers", ["1.5", "no"], "int"),
        ("distill", "temperature", ["warm", "nan", "yes", "22:05"], "float"),
        ("finetune", "scratch", ["maybe", "1"], "bool"),
        ("distill", "precision", ["16"], "one of '32', 'bf16'"),
    ],
)
def test_what_a_parameter_does_not_take_is_refused(
    command: str, name: str, texts: list[str], wanted: str, tmp_path: Path
) -> None:
    for text in texts:
        for way in each_way(tmp_path, command, name, text):
            with pytest.raises(SettingsError) as error:
                way()
            assert str(error.value) == f"{command}: --{name}: expected {wanted}, not {text}"


CHOICES = "one of 'linear_svm', 'logistic_regression', 'rbf_svm', 'kernel_ridge', 'lda', 'mlp'"


@pytest.mark.parametrize("from_recipe", [False, True])
@pytest.mark.parametrize(
    ("command", "name", "text", "message"),
    [
        ("evaluate", "head", "svm", f"expected {CHOICES}, not svm"),
        ("evaluate", "selection", "none", "expected one of 'same folds', 'nested', not none"),
        ("evaluate", "windows", "2", "expected name: value, such as {seconds: 2}, or --windows.seconds 2, not 2"),
        ("evaluate", "windows", "[2]", "expected name: value, such as {seconds: 2}, or --windows.seconds 2, not [2]"),
        (
            "explore",
            "voice_activity",
            "on",
            "expected name: value, such as {margin_seconds: 2}, or --voice_activity.margin_seconds 2, not on",
        ),
        ("distill", "teacher_weights", "3", "expected name: value, such as {a: 2}, or --teacher_weights.a 2, not 3"),
        (
            "distill",
            "augmentation",
            "",
            "expected name: value, such as {mix: 2}, or --augmentation.mix 2, not an empty text",
        ),
        (
            "distill",
            "augmentation",
            "none.yaml",
            "none.yaml cannot be read (No such file or directory); check the path",
        ),
    ],
)
def test_what_is_no_choice_is_told_in_one_line(
    command: str, name: str, text: str, message: str, from_recipe: bool
) -> None:
    place = {"evaluate": "features", "explore": "sounds", "distill": "targets"}[command]
    with pytest.raises(SettingsError) as error:
        parse(
            command,
            {place: "x", "out": "o", name: RawText(text)} if from_recipe else ["x", "--out=o", f"--{name}={text}"],
        )
    assert str(error.value) == f"{command}: --{name}: {message}"


@pytest.mark.parametrize(("name", "value", "wanted"), [("dry_run", 1, "bool"), ("workers", True, "int")])
def test_values_of_another_type_are_told(name: str, value: Any, wanted: str) -> None:
    with pytest.raises(SettingsError, match=f"^extract: --{name}: expected {wanted}, not {str(value).lower()}$"):
        parse("extract", {"sounds": "a.wav", "student": "s", "out": "o", name: value})


def test_parts_of_an_option_may_stand_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "parts.yaml"
    file.write_text("shift: on\nmix: 0.5\n")
    needed = ["t", "--out", "o"]
    for found in (
        parse("distill", [*needed, "--augmentation", str(file)]),
        parse("distill", [*needed, f"--augmentation={file}"]),
        parse("distill", {"targets": "t", "out": "o", "augmentation": str(file)}),
    ):
        assert found["augmentation"] == ClipAugmentation(shift=True, mix=0.5)
    found = parse("distill", [*needed, "--augmentation", str(file), "--augmentation.shift", "off"])
    assert found["augmentation"] == ClipAugmentation(shift=False, mix=0.5)
    file.write_text("shfit: on")
    with pytest.raises(SettingsError, match=r"--augmentation has no key 'shfit'; did you mean 'shift'"):
        parse("distill", [*needed, "--augmentation", str(file)])
    file.write_text("objects: 1e1\n007: 2\n")
    found = parse("distill", [*needed, "--teacher_weights", str(file)])
    assert found["teacher_weights"] == {"objects": 10.0, "007": 2.0}


def test_what_stands_without_a_flag_is_a_path() -> None:
    for name in ("[a]", "[a, b]", "null"):
        assert parse("rank", [name, "--out", "x", "--names", "[a, b]"]) == {
            **parse("rank", ["y", "--out", "x"]),
            "results": [name],
            "names": ["a", "b"],
        }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "'a' is given twice .*line 3"),
        ("x: {a: 1, 'a': 2}", "'a' is given twice"),
        ("x: &x [*x]", "what holds itself in .*line 1"),
        ("x: &x {y: *x}", "what holds itself"),
        ("[" * 5000, "holds itself, or too many"),
    ],
)
def test_yaml_that_says_two_things_or_holds_itself_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_yaml(text)


def test_merged_names_may_be_given_again() -> None:
    text = "a: &a {x: 1, y: 2}\nb: &b {<<: *a, x: 3}\nc: {<<: [*a, *a], y: 4}"
    assert read_yaml(text) == {"a": {"x": "1", "y": "2"}, "b": {"x": "3", "y": "2"}, "c": {"x": "1", "y": "4"}}


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["r", "--set", "a=1", "--set", "b=2"], ["a=1", "b=2"]),
        (["--set", "a=1", "b=2", "--out", "o", "--set=c=3", "r"], ["a=1", "b=2", "c=3"]),
        (["--set=a=--x", "r"], ["a=--x"]),
        (["r", "--set", "a=[1, 2]"], ["a=[1, 2]"]),
    ],
)
def test_a_list_may_be_given_in_several_places(words: list[str], wanted: list[str]) -> None:
    values = parse("run", words)
    assert (str(values["recipe"]), values["overrides"]) == ("r", wanted)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["teach", "", "--out", "o"], "teach: videos: expected a path, not an empty text"),
        (["teach", "v", "--out", ""], "teach: --out: expected a path, not an empty text"),
        (["teach", "v", "--out="], "teach: --out: expected a path, not an empty text"),
        (
            ["extract", "a.wav", "", "--student", "s", "--out", "o"],
            "extract: sounds: expected a path, not an empty text",
        ),
        (["evaluate", "f", "--out", "o", "--windows.seconds", "22:05"], "--windows.seconds: expected float, not 22:05"),
        (["distill", "t", "--out", "o", "--augmentation.shift", "1"], "--augmentation.shift: expected bool, not 1"),
    ],
)
def test_empty_paths_and_wrong_parts_are_refused(words: list[str], message: str) -> None:
    """An unset variable of the shell is no path, least of all the folder where one stands."""
    with pytest.raises(SettingsError, match=f"{message}$"):
        parse(words[0], words[1:])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("out: [a]", r"teach: --out: expected a path, not \[a\]; put it in quotes, if that is its name"),
        ("out: null", "teach: --out: expected a path, not null; put it in quotes, if that is its name"),
        ("videos_per_part: null", "teach: --videos_per_part: expected int, not null"),
    ],
)
def test_what_yaml_takes_for_itself_is_told(content: str, message: str) -> None:
    with pytest.raises(SettingsError, match=f"^{message}$"):
        parse("teach", {"videos": "v", "out": "o", **read_yaml(content)})


@pytest.mark.parametrize(
    ("variables", "values", "message"),
    [
        ({"student": None, "untrained": "${student}/u"}, {}, "needs a value for 'file'; give it with --set student="),
        ({"student": None, "untrained": "${student}/u"}, {"untrained": RawText("007")}, "no file 007 to"),
        ({"untrained": "${no}"}, {}, "has no such variable"),
        ({"layers": read_yaml("[a, 007]"), "untrained": "${layers}.x"}, {}, r"no file \[a, 007\].x to"),
        ({"yes": read_yaml("no"), "untrained": "${yes}-010"}, {}, "no file no-010 to"),
        ({"untrained": "x"}, {"untrained": "${literally}"}, r"no file \$\{literally\} to"),
    ],
)
def test_variables_inside_a_text(
    variables: dict[str, Any], values: dict[str, Any], message: str, tmp_path: Path
) -> None:
    (tmp_path / "r.yaml").write_text("variables: {}\nsteps: [weights verify: {file: '${untrained}'}]\n")
    recipe = read_recipe(tmp_path / "r.yaml")
    recipe.variables.update(variables)
    with pytest.raises(SettingsError, match=message):
        run_steps(recipe, values)


def test_an_unset_variable_of_the_shell_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("variables: {out: x}\nsteps: [weights verify: {file: '${out}/y'}]\n")
    assert main(["run", str(tmp_path / "r.yaml"), "--set", "out="]) == 1


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("workers: '${d}', out: o", None),
        ("videos_per_part: '${d}', out: o", "--videos_per_part: expected int, not an empty text"),
        ("device: '${d}', out: o", "--device: expected str, not an empty text"),
        ("out: '${d}'", "--out: expected a path, not an empty text"),
        ("out: '${d}/y'", "needs a value for 'out'; give it with --set d="),
    ],
)
def test_an_empty_value_is_told_as_one(setting: str, message: str | None, tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(f"variables: {{d: 1}}\nsteps: [teach: {{videos: '{tmp_path}/none', {setting}}}]\n")
    with pytest.raises(SoundNetKDError, match=message) as error:
        run(file, overrides=["d="])
    assert message or "workers" not in str(error.value)


def test_what_was_printed_is_read_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for text in [*PLAIN, *QUOTED]:
        with pytest.raises(SystemExit):
            parse("teach", ["v", f"--out={text}", f"--object_classes={text}.txt", "--print_config"])
        (tmp_path / "config.yaml").write_text(capsys.readouterr().out, encoding="utf-8")
        values = parse("teach", ["--config", str(tmp_path / "config.yaml")])
        assert (values["out"], values["object_classes"]) == (Path(text), Path(f"{text}.txt"))


def test_recipes_of_networks_read_values_likewise() -> None:
    changes = [
        "data={nsynth: {learned: 007, test: on, left_out: [no, 1e5, 0x10]}}",
        "network={NSynthBetter: {dropout: 25e-2}}",
        "training.epochs=010",
        "training.learning_rate=1e-3",
        "training.nesterov=off",
        "training.patience=null",
        "front_end=[{name: FourierResampling, target_rate: 8_000}]",
        "seeds=[007, 0]",
        "voice_activity=null",
    ]
    recipe = read_experiment_config(Path("nsynth"), changes)
    assert recipe.identity["data"]["nsynth"] == {
        "learned": "007",
        "test": "on",
        "validation_share": 0.33,
        "left_out": ("no", "1e5", "0x10"),
    }
    assert recipe.settings == {"dropout": 0.25, "front_end": [{"name": "FourierResampling", "target_rate": 8000}]}
    assert (recipe.training.epochs, recipe.training.learning_rate) == (10, 1e-3)
    assert (recipe.training.nesterov, recipe.training.patience, recipe.voice_activity) == (False, None, None)
    assert recipe.seeds == (7, 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("training.epochs=1e1", r"training\.epochs: expected int, not 1e1"),
        ("training.epochs=true", r"training\.epochs: expected int, not true"),
        ("training.learning_rate=22:05", r"training\.learning_rate: expected float, not 22:05"),
        ("network={NSynthBetter: {dropout: yes}}", r"network\.NSynthBetter\.dropout: expected float, not yes"),
        ("front_end=[{name: LogMel, bands: 1.5}]", "front_end.LogMel.bands: expected int, not 1.5"),
        ("training.loss=007", r"training\.loss: expected one of 'cross_entropy', .*, not 007"),
        ("training.loss=", r"training\.loss: expected one of .*, not an empty text"),
        ("training.epochs=", r"training\.epochs: expected int, not an empty text"),
        ("training.epochs.x=1", r"training\.epochs holds a value"),
    ],
)
def test_recipes_of_networks_refuse_likewise(change: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        read_experiment_config(Path("nsynth"), [change])


def test_where_no_parameter_tells_numbers_are_guessed_as_yaml_has_them_today() -> None:
    found = parse_value(read_yaml("[1, 007, 1e-4, .5, true, no, null, '1', 22:05, 2024-01-01, {a: 0x10}]"))
    assert found == [1, 7, 1e-4, 0.5, True, "no", None, "1", "22:05", "2024-01-01", {"a": 16}]
