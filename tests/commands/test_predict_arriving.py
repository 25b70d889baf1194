"""A sound on standard input: a line for each 5 s when it is there, whatever comes after."""

import io
import json
import os
import signal
import subprocess
import sys
import wave
from collections.abc import Iterator
from pathlib import Path
from threading import Timer, main_thread

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from soundnet_kd import SoundNet8
from soundnet_kd.commands.predict import predict
from soundnet_kd.data import tile_to_clip
from soundnet_kd.errors import MediaError, SettingsError
from soundnet_kd.features.predictor import hear_arriving, prepare_to_predict
from soundnet_kd.media import write_audio
from soundnet_kd.media.live import stream_arriving
from soundnet_kd.models import Network, write_network
from soundnet_kd.models.classifiers.cats_dogs import CatsDogs
from tests.media_files import sine, write_sound

RATE = 22_050
UNKNOWN_LENGTH = b"\xff\xff\xff\xff"


@pytest.fixture(scope="module")
def student() -> SoundNet8:
    torch.manual_seed(0)
    network = SoundNet8({"objects": ("cat", "dog", "car"), "scenes": ("street", "field")}, width=0.125).eval()
    with torch.no_grad():
        for head in network.class_names:
            network.get_parameter(f"conv8.{head}.weight").mul_(30)
    return network


def noise(seconds: float) -> NDArray[np.int16]:
    return (np.random.default_rng(0).normal(size=round(seconds * RATE)) * 3000).astype("<i2")


def as_floats(samples: NDArray[np.int16]) -> NDArray[np.float32]:
    return (samples / 2**15).astype(np.float32)


def as_it_streams(samples: NDArray[np.int16], rate: int = RATE) -> bytes:
    """Return WAV as FFmpeg writes it to a pipe, where it cannot know the length."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(b"")
    header = bytearray(file.getvalue())
    header[4:8] = header[40:44] = UNKNOWN_LENGTH
    return bytes(header) + samples.tobytes()


def spans_of(network: Network, data: bytes, tmp_path: Path) -> list[tuple[float, float, list[float]]]:
    (tmp_path / "stream").write_bytes(data)
    with (tmp_path / "stream").open("rb") as pipe:
        return [
            (span.start_seconds, span.end_seconds, [guess.probability for guess in next(iter(span.guesses.values()))])
            for span in hear_arriving(prepare_to_predict(network), pipe, 9)
        ]


@pytest.mark.parametrize(
    ("seconds", "spans"),
    [
        (3.0, [(0, 3)]),
        (5.0, [(0, 5)]),
        (11.0, [(0, 5), (5, 10), (10, 11)]),
        (25.5, [(0, 5), (5, 10), (10, 15), (15, 20), (20, 25)]),
    ],
)
def test_each_five_seconds_are_what_the_last_twenty_say_of_them(
    student: SoundNet8, seconds: float, spans: list[tuple[float, float]], tmp_path: Path
) -> None:
    samples = noise(seconds)
    found = spans_of(student, as_it_streams(samples), tmp_path)
    assert [(start, end) for start, end, _ in found] == spans
    wave = as_floats(samples)
    for start, end, probabilities in found:
        first = max(0, round((5 * np.ceil(end / 5) - 20) * RATE))
        heard = wave[first : round(end * RATE)]
        clip = tile_to_clip(heard, steps := round((5 * np.ceil(end / 5)) - first / RATE) // 5, RATE)
        with torch.inference_mode():
            logits = student(student.preprocessing.scale(torch.from_numpy(clip))[None, None])["objects"][0]
        expected = logits.softmax(dim=0).numpy()[:, steps - 1]
        assert probabilities == pytest.approx(sorted(expected, reverse=True), abs=2e-5), start


def test_twenty_seconds_end_as_a_file_of_them_does(student: SoundNet8, tmp_path: Path) -> None:
    samples = noise(20)
    write_audio(tmp_path / "a.wav", as_floats(samples), RATE)
    last = predict(tmp_path / "a.wav", student, per_step=True).sounds[str(tmp_path / "a.wav")][-1]
    *_, (start, end, probabilities) = spans_of(student, as_it_streams(samples), tmp_path)
    assert (start, end) == (15, 20)
    assert probabilities == pytest.approx([guess.probability for guess in last.guesses["objects"]], abs=2e-5)


def test_a_network_of_segments_answers_to_each_as_in_a_file(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = CatsDogs(("cat", "dog")).eval()
    write_audio(tmp_path / "a.wav", as_floats(noise(7)), RATE)
    expected = predict(tmp_path / "a.wav", network, per_step=True).sounds[str(tmp_path / "a.wav")]
    found = spans_of(network, (tmp_path / "a.wav").read_bytes(), tmp_path)
    assert [span[:2] for span in found] == [(span.start_seconds, span.end_seconds) for span in expected]
    for (*_, probabilities), span in zip(found, expected, strict=True):
        assert probabilities == pytest.approx([guess.probability for guess in span.guesses["classes"]], abs=2e-5)


@pytest.mark.parametrize(
    ("data", "said"), [(b"", "standard input"), (b"no sound" * 999, "as it comes"), (as_it_streams(noise(0)), "ended")]
)
def test_what_is_no_sound_is_told_in_one_line(student: SoundNet8, data: bytes, said: str, tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=said):
        spans_of(student, data, tmp_path)


@pytest.mark.parametrize("stated", [RATE, 2**30])
def test_what_the_header_says_of_the_length_counts_for_nothing(student: SoundNet8, stated: int, tmp_path: Path) -> None:
    """Python's wave states the length of the first block, or what it was told, where it cannot go back."""
    samples = noise(12)
    data = bytearray(as_it_streams(samples))
    data[40:44] = min(2 * stated, 2**32 - 1).to_bytes(4, "little")
    found = spans_of(student, bytes(data), tmp_path)
    assert [span[:2] for span in found] == [(0, 5), (5, 10), (10, 12)]
    assert found == spans_of(student, as_it_streams(samples), tmp_path)


def test_standard_input_is_heard_alone(student: SoundNet8, tmp_path: Path) -> None:
    for options in ({"out": tmp_path / "out.csv"}, {"dry_run": True}):
        with pytest.raises(SettingsError, match="heard alone"):
            predict("-", student, **options)
    with pytest.raises(SettingsError, match="heard alone"):
        predict(["-", tmp_path], student)


@pytest.fixture
def listening(student: SoundNet8, tmp_path: Path) -> "Iterator[subprocess.Popen[bytes]]":
    write_network(student, tmp_path / "student.safetensors", {})
    command = [sys.executable, "-m", "soundnet_kd.cli", "predict", "-", "--json", "--student"]
    process = subprocess.Popen(
        [*command, str(tmp_path / "student.safetensors")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        yield process
        process.kill()


def test_a_line_is_there_before_what_follows_it_has_come(listening: "subprocess.Popen[bytes]") -> None:
    assert listening.stdin is not None
    assert listening.stdout is not None
    data = as_it_streams(noise(11), 22_050)
    second = 44 + 2 * RATE * 6
    listening.stdin.write(data[:second])
    listening.stdin.flush()
    # This waits for ever where a line waits for more than half a second of sound.
    first = json.loads(listening.stdout.readline())
    assert (first["start_seconds"], first["end_seconds"]) == (0, 5)
    assert {len(first["objects"]), len(first["scenes"])} == {3, 2}
    listening.stdin.write(data[second:])
    listening.stdin.close()
    rest = [json.loads(line)["end_seconds"] for line in listening.stdout]
    assert rest == [10, 11]
    assert listening.wait() == 0


def test_it_ends_when_nobody_reads_any_longer(listening: "subprocess.Popen[bytes]") -> None:
    assert listening.stdin is not None
    assert listening.stdout is not None
    assert listening.stderr is not None
    listening.stdout.close()
    try:
        listening.stdin.write(as_it_streams(noise(30)))
        listening.stdin.close()
    except BrokenPipeError:
        pass
    assert listening.wait() == 0
    assert listening.stderr.read() == b""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
def test_a_signal_ends_it_without_a_word_about_files(listening: "subprocess.Popen[bytes]") -> None:
    assert listening.stdin is not None
    assert listening.stdout is not None
    assert listening.stderr is not None
    listening.stdin.write(as_it_streams(noise(6)))
    listening.stdin.flush()
    assert listening.stdout.readline()
    listening.terminate()
    # What it reads from is still open.
    assert listening.wait() == 128 + 15
    assert listening.stderr.read() == b"\nstopped by SIGTERM\n"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
@pytest.mark.usefixtures("signals_heeded")
@pytest.mark.parametrize("arrived", [100, 5000])
def test_an_interrupt_is_no_fault_of_what_has_arrived(arrived: int, tmp_path: Path) -> None:
    """Of the first 100 bytes of AAC, FFmpeg makes a stream without tracks where they are all that comes."""
    write_sound(tmp_path / "a.aac", sine(440, 3.0, RATE)[None], RATE, "aac")
    reading, writing = os.pipe()
    os.write(writing, (tmp_path / "a.aac").read_bytes()[:arrived])
    interrupt = Timer(0.5, signal.pthread_kill, (main_thread().ident, signal.SIGINT))
    try:
        interrupt.start()
        with os.fdopen(reading, "rb") as pipe, pytest.raises(KeyboardInterrupt):
            list(stream_arriving(pipe, RATE))
    finally:
        interrupt.join()
        os.close(writing)
