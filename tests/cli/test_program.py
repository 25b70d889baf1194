"""The command line as a person meets it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from soundnet_kd import FeatureCache, SoundNet5
from soundnet_kd.cli import main
from soundnet_kd.cli.arguments import parse
from soundnet_kd.cli.parsers import parser_for
from soundnet_kd.cli.table import COMMANDS
from soundnet_kd.errors import SettingsError
from soundnet_kd.media import write_audio
from soundnet_kd.models import write_network
from soundnet_kd.training.augmentation import Augmentation
from soundnet_kd.transfer.windows import Windows


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = main(arguments)
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def test_the_overview_names_every_command_and_imports_nothing_heavy() -> None:
    script = (
        "import sys; from soundnet_kd.cli import main; status = main(['--help']); "
        "heavy = {'torch', 'numpy', 'lightning', 'sklearn', 'umap', 'matplotlib', 'av'} & sys.modules.keys(); "
        "sys.exit(status or repr(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(f"  {name} " in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_all_of_its_options(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, name, "--help")
    assert status == 0
    assert out.startswith(f"usage: soundnet-kd {name}")
    unexplained = [action.dest for action in parser_for(name)._actions if not (action.help or "").strip()]
    assert unexplained == []


def test_a_wrong_command_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run(capsys, "distil")
    assert status == 1
    assert err == "soundnet-kd: there is no command 'distil'; did you mean 'distill'?\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "o", "--batch_sise", "3"], "distill has no option 'batch_sise'; did you mean 'batch_size'?"),
        (["--out", "o", "--batch_size", "x"], "distill: --batch_size: expected int, not x"),
        (["--out", "o", "--schedule", "linear"], "--schedule: expected one of 'constant', 'cosine', not linear"),
        ([], "distill needs --out; `soundnet-kd distill --help` explains"),
    ],
)
def test_wrong_options_are_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "distill", "targets", *arguments)
    assert status == 1
    assert message in err
    assert err.count("\n") == 1
    assert out == ""


def test_errors_are_one_line_and_debug_shows_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("distill", str(tmp_path), "--out", str(tmp_path / "run"))
    status, _, err = run(capsys, *arguments)
    assert status == 1
    assert (
        err == f"soundnet-kd: {tmp_path} is not a targets folder (no targets.json); make one with `soundnet-kd teach`\n"
    )
    status, _, err = run(capsys, *arguments, "--debug")
    assert status == 1
    assert "Traceback" in err


@pytest.mark.parametrize("form", ["--config {}", "--config={}"])
def test_the_command_line_overrides_the_file_wherever_it_stands(form: str, tmp_path: Path) -> None:
    config = tmp_path / "distill.yaml"
    config.write_text("targets: from the file\nout: o\nsteps: 7\nbatch_size: 8\n")
    values = parse("distill", ["here", "--steps", "9", *form.format(config).split()])
    assert (values["targets"], values["steps"], values["batch_size"]) == (Path("here"), 9, 8)
    assert "config" not in values


def test_a_file_with_an_unknown_key_names_the_nearest(tmp_path: Path) -> None:
    config = tmp_path / "distill.yaml"
    config.write_text("step: 7\n")
    with pytest.raises(SettingsError, match="distill has no option 'step'; did you mean 'steps'"):
        parse("distill", ["here", "--out", "o", "--config", str(config)])


def test_lists_and_paths_and_objects_from_the_command_line() -> None:
    values = parse("extract", ["sounds", "--student", "s", "--out", "o", "--layers", "conv5", "pool5", "--sequences"])
    assert values["layers"] == ["conv5", "pool5"]
    assert values["sequences"] is True
    assert (values["sounds"], values["student"]) == ("sounds", "s")


NEEDED = {"extract": ["--student", "s", "--out", "o"], "predict": []}


@pytest.mark.parametrize("command", NEEDED)
def test_one_sound_is_one_path_and_several_are_a_list(command: str) -> None:
    """So that a CSV file alone is a data set, on the command line and in a recipe alike."""
    needed = dict(zip(("student", "out"), ("s", "o"), strict=True))
    assert parse(command, ["a.csv", *NEEDED[command]])["sounds"] == "a.csv"
    assert parse(command, ["a.wav", "b.wav", *NEEDED[command]])["sounds"] == ["a.wav", "b.wav"]
    assert parse(command, [*NEEDED[command], "a.wav", "b.wav"])["sounds"] == ["a.wav", "b.wav"]
    assert parse(command, needed | {"sounds": "a.csv"})["sounds"] == "a.csv"
    assert parse(command, needed | {"sounds": ["a.csv"]})["sounds"] == "a.csv"
    assert parse(command, needed | {"sounds": ["a.wav", 2024]})["sounds"] == ["a.wav", "2024"]
    assert parser_for(command).format_usage().split("\n")[-2].strip() == "sounds [sounds ...]"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["extract", "a.wav", "--student", "s", "b.wav"], "cannot place 'b.wav'; name all sounds in one place"),
        (["teach", "a.mp4", "b.mp4", "--out", "o"], "cannot place 'b.mp4'; it takes one value for videos"),
        (["weights", "list", "all"], "weights list cannot place 'all'; it takes no such value"),
        (["predict", "--top", "2"], "predict needs sounds; `soundnet-kd predict --help` explains"),
        (["extract", "--pooling", "std", "a/"], "sounds come before the options, of which --pooling has taken a/;"),
        (["extract", "--layers", "pool5", "a/"], "sounds come before the options, of which --layers has taken a/;"),
    ],
)
def test_values_in_the_wrong_place_are_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (1, "")
    assert message in err
    assert err.count("\n") == 1


def test_several_sounds_from_the_shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    student = tmp_path / "student.safetensors"
    write_network(SoundNet5({"objects": ["cat", "dog"]}), student, {})
    for name in ("a.wav", "b.wav"):
        write_audio(tmp_path / name, np.random.default_rng(0).uniform(-1, 1, 22_050).astype(np.float32), 22_050)
    (tmp_path / "broken.wav").write_text("no sound")
    sounds = [str(tmp_path / name) for name in ("a.wav", "b.wav", "broken.wav")]
    features = tmp_path / "f.h5"
    status, out, err = run(
        capsys, "extract", *sounds, "--student", str(student), "--out", str(features), "--layers", "conv1"
    )
    assert status == 0, err
    with FeatureCache(features) as cache:
        assert list(cache.ids) == ["a.wav", "b.wav"]
    guesses = tmp_path / "guesses.csv"
    status, out, err = run(capsys, "predict", *sounds, "--student", str(student), "--top", "1", "--out", str(guesses))
    assert status == 0, err
    assert out.count(".wav  0-1 s\n") == 2
    assert out.endswith(f"wrote {guesses}, 1 not read (see {tmp_path / 'guesses.csv.failures.csv'})\n")


def test_print_config_gives_a_file_that_config_takes(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "soundnet_kd.cli", "distill", "t", "--out", "o", "--steps", "5", "--print_config"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    config = tmp_path / "distill.yaml"
    config.write_text(done.stdout)
    assert parse("distill", ["--config", str(config), "t"])["steps"] == 5


def test_parts_of_an_option_are_printed_and_read_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["f", "--out", "o", "--windows.seconds", "2", "--poolings", "mean", "std"]
    with pytest.raises(SystemExit) as stopped:
        parse("evaluate", [*flags, "--print_config"])
    assert stopped.value.code == 0
    (tmp_path / "config.yaml").write_text(capsys.readouterr().out)
    assert parse("evaluate", ["--config", str(tmp_path / "config.yaml")]) == parse("evaluate", flags)


def test_what_configs_and_flags_say_of_an_options_parts_is_laid_over_one_another(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("augmentation: {mix: 0.25, shift: off}\nlayer: pool5\n")
    (tmp_path / "b.yaml").write_text("augmentation.gain_db: 3\n")
    files = ["--config", str(tmp_path / "a.yaml"), f"--config={tmp_path / 'b.yaml'}"]
    values = parse("finetune", ["s", "--student", "x", "--out", "o", "--augmentation.mix", "1", *files])
    assert values["augmentation"] == Augmentation(shift=False, mix=1.0, gain_db=3.0)
    assert values["layer"] == "pool5"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["f", "--out"], "evaluate: --out: expected one argument"),
        (["f", "--out", "o", "--windows.pooling", "max"], "evaluate: --windows needs seconds; write seconds: value"),
        (["f", "--out", "o", "--windows.secnds", "2"], "--windows has no key 'secnds'; did you mean 'seconds'"),
        (["f", "--out", "o", "--seed.x", "2"], "evaluate has no option 'seed.x'; did you mean 'seed'"),
        (["f", "--out", "o", "--poolings", "mean", "men"], "--poolings: expected one of 'mean', 'max', 'std', not men"),
        (["f", "--out", "o", "-x"], "evaluate has no option 'x'; there are features, out, layers"),
        (["f", "--out", "o", "--", "t"], "evaluate cannot place 't'; it takes one value for features"),
    ],
)
def test_parts_and_words_that_have_no_place(words: list[str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        parse("evaluate", words)


def test_negative_numbers_are_values_and_what_follows_two_dashes_is_no_flag() -> None:
    assert parse("distill", ["t", "--out", "o", "--learning_rate", "-1e-3"])["learning_rate"] == -1e-3
    assert parse("distill", ["--out", "o", "--", "-t"])["targets"] == Path("-t")


def test_a_file_may_write_what_a_recipe_may(tmp_path: Path) -> None:
    config = tmp_path / "extract.yaml"
    config.write_text("sounds: [a.wav, b.wav]\nstudent: 2024\nout: 2026-11-21\nlayers: conv5\n")
    values = parse("extract", ["--config", str(config)])
    assert (values["sounds"], values["layers"]) == (["a.wav", "b.wav"], ["conv5"])
    assert (values["student"], values["out"]) == ("2024", "2026-11-21")
    assert parse("extract", ["c.csv", "--config", str(config)])["sounds"] == "c.csv"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"extract\.yaml cannot be read \(No such file or directory\); check the path"),
        ("only words", r"extract\.yaml holds no options as name: value"),
        ("layers: [", r"extract\.yaml is not YAML: .*expected"),
    ],
)
@pytest.mark.parametrize("form", ["--config {}", "--config={}"])
def test_files_that_hold_no_options(form: str, text: str | None, message: str, tmp_path: Path) -> None:
    config = tmp_path / "extract.yaml"
    if text is not None:
        config.write_text(text)
    with pytest.raises(SettingsError, match=message):
        parse("extract", ["a.wav", *form.format(config).split()])


def test_what_is_needed_stands_in_the_usage_without_brackets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "500")
    usage = parser_for("compare").format_help().split("\n")[0]
    assert " --out OUT" in usage
    assert "[--out" not in usage
    assert "[--names NAMES [NAMES ...]]" in usage
    assert usage.endswith(" results")


def test_help_is_as_wide_as_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for name in COMMANDS:
        assert max(map(len, parser_for(name).format_help().splitlines())) <= 80, name


def test_yaml_may_write_numbers_for_names_and_one_for_a_list() -> None:
    values = parse("extract", {"sounds": 2024, "student": "s", "out": "o", "layers": "conv5"})
    assert values["sounds"] == "2024"
    assert values["layers"] == ["conv5"]
    assert parse("distill", {"targets": "t", "out": "o", "precision": 32})["precision"] == "32"


def test_windows_are_given_by_their_fields() -> None:
    flags = ["x.h5", "--out", "o", "--windows.seconds", "2", "--windows.pooling", "max"]
    wanted = Windows(seconds=2.0, pooling="max")
    assert parse("evaluate", flags)["windows"] == wanted
    windows = {"seconds": 2.0, "pooling": "max"}
    assert parse("evaluate", {"features": "x.h5", "out": "o", "windows": windows})["windows"] == wanted
    assert parse("evaluate", ["x.h5", "--out", "o"])["windows"] is None
