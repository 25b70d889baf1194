"""The parts of a page against numbers worked out by hand."""

import base64
import csv
import filecmp
import itertools
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from soundnet_kd.analysis.neurons.file import NeuronsFile
from soundnet_kd.commands.neurons import neurons
from soundnet_kd.data.datasets.esc50 import OTHER_ACCURACIES, PAPER_ACCURACY_BY_LAYER
from soundnet_kd.media import write_audio
from soundnet_kd.pretrained.registry import student_registry
from soundnet_kd.report import sections
from soundnet_kd.report.clips import Clips
from soundnet_kd.report.evaluations import ShownEvaluation, layer_accuracies
from soundnet_kd.report.page import SECTIONS
from soundnet_kd.report.page_data import PageData, encode_integers, quantize, rounded
from soundnet_kd.report.sections.clips import neighbors_data, neuron_ranks
from soundnet_kd.report.sections.neurons import curve_ranks, neurons_data
from soundnet_kd.report.sections.overview import gains
from soundnet_kd.report.sounds import PEAKS, PlayableSound, _peaks, write_sounds
from soundnet_kd.transfer.comparison import Comparison, LayerComparison
from soundnet_kd.transfer.significance import McNemarTest
from tests.analysis.caches import write_cache
from tests.report.runs import SAMPLE_RATE, make_sounds, pitch_heard, pitch_of
from tests.transfer.evaluations import evaluation


def test_whole_numbers_are_encoded_in_the_fewest_bytes() -> None:
    assert encode_integers(np.array([[0, 255]])) == {
        "bits": 8,
        "shape": [1, 2],
        "data": base64.b64encode(b"\x00\xff").decode(),
    }
    assert base64.b64decode(encode_integers(np.array([256, 1]))["data"]) == b"\x00\x01\x01\x00"
    assert encode_integers(np.array([65536]))["bits"] == 32


def shown(*, protocol: str = "notebook", **correct: int) -> ShownEvaluation:
    """An evaluation of ten classes with a clip each, of which a layer has some right, the first ones."""
    letters = "abcdefghij"
    made = evaluation(
        {layer: letters[:count].ljust(10, "a") for layer, count in correct.items()}, letters, protocol=protocol
    )
    return ShownEvaluation("results", "results", Path("results"), made, layer_accuracies(made))


def comparison(second: str, *rows: tuple[str, float, float], protocol: str = "notebook") -> Comparison:
    layers = [((*name.split(":"), name)[:2], one, two) for name, one, two in rows]
    test = McNemarTest(1, 2, 0.5)
    return Comparison(
        ("before", second),
        (protocol, f"{protocol}, linear_svm, settings chosen: same folds"),
        tuple(LayerComparison((pair[0], pair[1]), (one, two), two - one, (-1, 1), test) for pair, one, two in layers),
    )


def test_gains_are_those_of_the_evaluation_that_the_page_begins_with() -> None:
    """It is known by all its accuracies; rows of two layers are left out, and a gain may be a loss."""
    first = shown(conv1=4, pool5=7)
    mine = comparison("after", ("conv1", 0.5, 0.4), ("pool5", 0.6, 0.70003), ("conv1:pool5", 0.5, 0.7))
    others = [
        comparison("better", ("pool5", 0.2, 0.9)),
        # The best layer is as good, but not the other one.
        comparison("alike", ("conv1", 0.5, 0.3), ("pool5", 0.6, 0.7)),
        comparison("other protocol", ("conv1", 0.5, 0.4), ("pool5", 0.6, 0.7), protocol="power"),
        comparison("more layers", ("conv1", 0.5, 0.4), ("pool5", 0.6, 0.7), ("conv8", 0.5, 0.7)),
        comparison("without the best layer", ("conv1", 0.5, 0.4)),
        comparison("two layers", ("conv1:pool5", 0.5, 0.7)),
    ]
    found = gains([*others, mine], [first, shown(conv1=9)])
    assert found is not None
    assert (found.names, found.chance) == (("before", "after"), 0.1)
    assert [row.name for row in found.rows] == ["conv1", "pool5"]
    assert found.best.name == "pool5"
    assert gains(others, [first]) is None
    assert gains([mine], [shown(conv1=9), first]) is None
    assert gains([mine], []) is None
    assert gains([], [first]) is None


def test_quantizing_and_rounding() -> None:
    assert quantize(np.array([0.0, 0.5, 1.0, 2.0]), bits=8).tolist() == [0, 128, 255, 255]
    assert rounded(np.array([0.123456, np.nan, 1234.56])) == [0.1235, None, 1235.0]


def test_data_are_plain_ascii_whatever_names_they_hold(tmp_path: Path) -> None:
    PageData(tmp_path).write("run", {"name": "</script>\u2028ü"})
    text = (tmp_path / "data" / "run.js").read_bytes()
    assert text == b'provide("run",{"name":"</script>\\u2028\\u00fc"});\n'


def test_a_neuron_that_is_silent_for_most_clips_ranks_them_last() -> None:
    features = np.array([[3.0, 0.0], [1.0, 0.0], [2.0, 5.0], [1.0, 0.0]])
    assert neuron_ranks(features).tolist() == [[1, 4], [4, 4], [2, 1], [4, 4]]


def test_neighbors_and_strongest_neurons() -> None:
    features = np.array([[1.0, 0.0], [2.0, 0.1], [0.0, 1.0]])
    data = neighbors_data(features, percentile=50)
    neighbors = np.frombuffer(base64.b64decode(data["neighbors"]["data"]), np.uint8).reshape(data["neighbors"]["shape"])
    # By the angle the first two are alike, whatever their lengths.
    assert neighbors[:, 0].tolist() == [1, 0, 1]
    strongest = np.frombuffer(base64.b64decode(data["neurons"]["data"]), np.uint8).reshape(data["neurons"]["shape"])
    assert strongest[1].tolist() == [0, 1]
    activated = np.frombuffer(base64.b64decode(data["activated"]["data"]), np.uint8)
    # Medians are 1 and 0.1: above them lie clip 1 in the first neuron and clip 2 in the second.
    assert activated.tolist() == [0, 1, 1]


def unpacked(data: dict[str, Any]) -> NDArray[Any]:
    return np.frombuffer(base64.b64decode(data["data"]), f"<u{data['bits'] // 8}").reshape(data["shape"])


def test_silent_clips_are_nobodys_neighbors_and_counted() -> None:
    """The first and the fourth are silent, the last is broken: the others have the neighbors that they have alone."""
    heard = np.array([[1.0, 0.0], [2.0, 0.1], [0.0, 1.0]])
    features = np.zeros((6, 2))
    features[[1, 2, 4]] = heard
    features[5] = np.nan, 9
    data = neighbors_data(features, percentile=50)
    alone = neighbors_data(heard, percentile=50)
    assert unpacked(data["neighbors"])[[1, 2, 4]].tolist() == np.array([1, 2, 4])[unpacked(alone["neighbors"])].tolist()
    angles = unpacked(data["half_angle_sine"])[[1, 2, 4]]
    assert angles.tolist() == unpacked(alone["half_angle_sine"]).tolist()
    assert (data["without_neighbors"], alone["without_neighbors"]) == ([0, 3, 5], [])
    told = "left out: 2 clips to which no neuron answers, 1 clip whose features are NaN or infinite"
    assert (data["left_out"], alone["left_out"]) == (told, "")
    # The broken one comes last with every neuron, and activates none.
    assert unpacked(data["ranks"])[5].tolist() == [6, 6]
    assert unpacked(data["activated"]).tolist() == [0, 1, 2, 0, 1, 0]


def test_where_one_clip_is_heard_or_none_nobody_has_neighbors() -> None:
    for heard in (0, 1):
        data = neighbors_data(np.eye(3, 2)[:, ::-1] * (np.arange(3) < heard)[:, None], percentile=50)
        assert data["neighbors"]["shape"] == [3, 0]
        assert data["without_neighbors"] == [0, 1, 2]


def test_clips_that_a_neuron_does_not_answer_to_are_not_its_strongest(tmp_path: Path) -> None:
    """By the rule of `neurons.csv`: only those above the least activation; the last clip has no label."""
    labels = [0, 0, 0, 1, 1, 1, -1]
    pool5 = np.array([[0, 3, 0], [0, 2, 0], [0, 0, 0], [0, 0, -1], [0, 0, 0], [0, 0, 0], [9, -9, 9]], np.float32)
    cache = write_cache(tmp_path / "features.h5", {"pool5": pool5}, labels, [0] * 7, ("a", "b"))
    neurons(cache, tmp_path / "neurons", percentile=50, shuffles=10, top_clips=9)
    file = NeuronsFile(tmp_path / "neurons" / "neurons.h5")
    data = neurons_data(*file.read("pool5"), pool5)
    assert data["excited_by"] == [0, 2, 5]
    with (tmp_path / "neurons" / "neurons.csv").open(newline="") as handle:
        named = [
            sum(bool(text) for name, text in row.items() if name.startswith("top")) for row in csv.DictReader(handle)
        ]
    assert named == data["excited_by"]
    assert unpacked(data["top"])[1, :2].tolist() == [0, 1]


@pytest.mark.parametrize(("clips", "expected"), [(2000, 100), (5, 1), (2, 0), (1, 0)])
def test_a_curve_is_drawn_from_its_first_clip_to_its_last(clips: int, expected: int) -> None:
    ranks = curve_ranks(clips, expected)
    assert (ranks[0], ranks[-1]) == (0, clips - 1)
    assert (np.diff(ranks) > 0).all()
    # Above the line no more than five clips are skipped at once.
    assert np.diff(ranks[ranks <= 2 * expected]).max(initial=1) <= 5


def test_published_figures_are_those_of_the_registry() -> None:
    figures = student_registry()["soundnet8"].figures
    assert {
        f"ESC-50, paper, {layer}, VGG teachers": value for layer, value in PAPER_ACCURACY_BY_LAYER.items()
    }.items() <= figures.items()
    assert figures["ESC-50, notebook, pool5"] in OTHER_ACCURACIES.values()
    assert figures["ESC-50, paper, pool5, AlexNet teachers"] in OTHER_ACCURACIES.values()


def test_each_sound_keeps_its_pitch_and_shows_its_shape(tmp_path: Path) -> None:
    paths = make_sounds(tmp_path / "sounds")
    nothing = np.zeros(len(paths), dtype=np.int64)
    clips = Clips(tuple(path.name for path in paths), nothing - 1, nothing, (), tuple(paths))
    written = write_sounds(clips, 10.0, tmp_path / "page")
    for clip, sound in enumerate(written):
        assert isinstance(sound, PlayableSound)
        assert pitch_heard(tmp_path / "page" / "sounds" / sound.file) == pytest.approx(pitch_of(clip), abs=6)
        assert sound.peaks.shape == (PEAKS,)
        # A steady tone is as loud everywhere.
        assert sound.peaks.min() > 0.8
        assert sound.peaks.max() == 1


def test_every_script_and_template_of_a_section_is_one_of_the_page() -> None:
    """What lies beside the sections and belongs to none would never be shown; one without a template has nothing."""
    names = {section.name for section in SECTIONS}
    folder = Path(sections.__file__).parent
    assert {file.name.removesuffix(".html.j2") for file in folder.glob("*.html.j2")} == names
    assert {file.stem for file in folder.glob("*.js")} <= names


def write_flac(path: Path, levels: np.ndarray, rate: int = SAMPLE_RATE) -> Path:
    """Write (channels, samples) int16 levels."""
    with av.open(str(path), "w", format="flac") as container:
        stream = container.add_stream("flac", rate=rate, layout="mono" if len(levels) == 1 else "stereo")
        frame = av.AudioFrame.from_ndarray(
            levels.T.reshape(1, -1).copy(), "s16", "mono" if len(levels) == 1 else "stereo"
        )
        frame.sample_rate = rate
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_a_small_mono_flac_or_mp3_is_copied_and_any_other_sound_becomes_an_mp3(tmp_path: Path) -> None:
    second = (100 * np.sin(2 * np.pi * 440 * np.arange(SAMPLE_RATE) / SAMPLE_RATE)).astype(np.int16)
    noise = np.random.default_rng(0).integers(-30_000, 30_000, (1, SAMPLE_RATE)).astype(np.int16)
    write_audio(tmp_path / "small.mp3", second, SAMPLE_RATE)
    write_audio(tmp_path / "plain.wav", second, SAMPLE_RATE)
    paths = {
        "small.flac": write_flac(tmp_path / "small.flac", second[None]),
        "misnamed.wav": write_flac(tmp_path / "misnamed.wav", second[None]),
        "small.mp3": tmp_path / "small.mp3",
        "stereo.flac": write_flac(tmp_path / "stereo.flac", np.stack([second, noise[0] // 100])),
        "long.flac": write_flac(tmp_path / "long.flac", np.concatenate([second, second])[None]),
        "large.flac": write_flac(tmp_path / "large.flac", noise),
        "plain.wav": tmp_path / "plain.wav",
    }
    count = len(paths)
    clips = Clips(tuple(paths), np.zeros(count, int), np.ones(count, int), ("tone",), tuple(paths.values()))
    written = dict(zip(paths, write_sounds(clips, 1.5, tmp_path / "page"), strict=True))
    names = {clip: sound.file for clip, sound in written.items() if isinstance(sound, PlayableSound)}
    assert {clip: Path(name).suffix for clip, name in names.items()} == {
        **{"small.flac": ".flac", "misnamed.wav": ".flac", "small.mp3": ".mp3"},
        **dict.fromkeys(("stereo.flac", "long.flac", "large.flac", "plain.wav"), ".mp3"),
    }
    same = {
        clip for clip, name in names.items() if filecmp.cmp(paths[clip], tmp_path / "page/sounds" / name, shallow=False)
    }
    assert same == {"small.flac", "misnamed.wav", "small.mp3"}
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "page/sounds").iterdir()}
    write_sounds(clips, 1.5, tmp_path / "page")
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "page/sounds").iterdir()} == before


@pytest.mark.parametrize("samples", [1, 50, PEAKS, 1000])
def test_each_bar_is_the_largest_magnitude_of_its_stretch(samples: int) -> None:
    waveform = np.random.default_rng(samples).uniform(-0.5, 0.5, samples).astype(np.float32)
    edges = [int(bar * samples / PEAKS) for bar in range(PEAKS + 1)]
    stretches = [waveform[start : max(end, start + 1)] for start, end in itertools.pairwise(edges)]
    largest = [max(abs(float(value)) for value in stretch) for stretch in stretches]
    np.testing.assert_allclose(_peaks(waveform), np.array(largest) / max(largest), rtol=1e-6)
