"""The same sound in every container, codec and sample type; what comes out is compared with what went in.

The expected numbers hold under every version of PyAV and FFmpeg: these tests run on the oldest and on a newer Python.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from soundnet_kd.errors import MediaError
from soundnet_kd.media import read_audio, stream_audio
from tests.media_files import Waveform, loudest_frequency, sine, write_sound

RATE = 48_000
SUBFORMAT = bytes.fromhex("0000000010008000 00aa00389b71".replace(" ", ""))
"""The end that the identifiers of all formats of an extensible header share."""


def chirp(seconds: float, sample_rate: int = RATE) -> Waveform:
    """A sound that is like itself at no other time."""
    moments = np.arange(round(seconds * sample_rate)) / sample_rate
    return (0.4 * np.sin(2 * np.pi * (300 + 400 * moments) * moments)).astype(np.float32)


def lag(waveform: Waveform, sound: Waveform) -> int:
    """By how many samples a sound lies later in `waveform` than in the original."""
    size = 1 << (len(waveform) + len(sound)).bit_length()
    likeness = np.fft.irfft(np.fft.rfft(waveform, size) * np.fft.rfft(sound, size).conj())
    best = int(likeness.argmax())
    return best if best < size // 2 else best - size


def write_extensible(
    path: Path, values: NDArray[np.int64], container_bits: int, valid_bits: int, channels: int
) -> None:
    """Write whole numbers of `valid_bits`, (samples * channels,), left-justified in wider containers by hand."""
    stored = (values << (container_bits - valid_bits)) + (128 if container_bits == 8 else 0)
    data = stored.astype("<i8", order="C").view("u1").reshape(-1, 8)[:, : container_bits // 8].tobytes()
    frame_bytes = container_bits // 8 * channels
    header = struct.pack(
        "<HHIIHHHHIH", 0xFFFE, channels, RATE, RATE * frame_bytes, frame_bytes, container_bits, 22, valid_bits, 0, 1
    )
    chunks = b"WAVEfmt " + struct.pack("<I", 40) + header + SUBFORMAT + b"data" + struct.pack("<I", len(data)) + data
    path.write_bytes(b"RIFF" + struct.pack("<I", len(chunks)) + chunks)


@pytest.mark.parametrize(
    ("container_bits", "valid_bits"),
    [
        *((8, valid) for valid in (6, 8)),
        *((16, valid) for valid in (8, 12, 14, 16)),
        *((24, valid) for valid in (8, 12, 16, 18, 20, 24)),
        *((32, valid) for valid in (8, 12, 16, 20, 24, 30, 32)),
    ],
)
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_fewer_valid_bits_than_a_sample_has_room_for(
    tmp_path: Path, container_bits: int, valid_bits: int, channels: int
) -> None:
    full_scale = 2 ** (valid_bits - 1)
    sounds = np.stack([sine(440 + 110 * number, 0.2, RATE) for number in range(channels)], axis=1)
    values = np.round(sounds * (full_scale - 1)).astype(np.int64)
    write_extensible(tmp_path / "x.wav", values.ravel("C"), container_bits, valid_bits, channels)
    waveform, _ = read_audio(tmp_path / "x.wav")
    np.testing.assert_allclose(waveform, values[:, 0] / full_scale, atol=1e-7)
    averaged, _ = read_audio(tmp_path / "x.wav", channel="mean")
    np.testing.assert_allclose(averaged, values.mean(axis=1) / full_scale, atol=1e-6)
    blocks = list(stream_audio(tmp_path / "x.wav", 16_000, block_seconds=0.03))
    np.testing.assert_array_equal(np.concatenate(blocks), read_audio(tmp_path / "x.wav", 16_000)[0])


@pytest.mark.parametrize("cut_bytes", [0, 20_001])
def test_a_recorder_that_could_not_finish_its_header(tmp_path: Path, cut_bytes: int) -> None:
    values = np.round(sine(440, 0.5, RATE) * (2**23 - 1)).astype(np.int64)
    write_extensible(tmp_path / "x.wav", values, 32, 24, 1)
    raw = bytearray((tmp_path / "x.wav").read_bytes())
    raw[64:68] = b"\xff\xff\xff\xff"
    (tmp_path / "x.wav").write_bytes(raw[: len(raw) - cut_bytes])
    waveform, _ = read_audio(tmp_path / "x.wav")
    assert len(waveform) == len(values) - -(-cut_bytes // 4)
    np.testing.assert_allclose(waveform, values[: len(waveform)] / 2**23, atol=1e-7)


# Where both decode the same blocks but round otherwise, or add to the last of them.
LOSSY = frozenset(
    {"IMA_ADPCM", "MS_ADPCM", "GSM610", "VORBIS", "OPUS", "MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III"}
)
KINDS = (
    "WAV",
    "WAVEX",
    "RF64",
    "W64",
    "AIFF",
    "AU",
    "CAF",
    "FLAC",
    "OGG",
    "VOC",
    "NIST",
    "SVX",
    "IRCAM",
    "SDS",
    "PAF",
    "MAT5",
)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("order", ["FILE", "BIG", "LITTLE"])
def test_whatever_libsndfile_writes_is_read_as_it_reads_it(tmp_path: Path, kind: str, order: str) -> None:
    sound = np.stack([chirp(0.3), sine(600, 0.3, RATE)], axis=1)
    read = []
    for subtype in soundfile.available_subtypes(kind):
        for channels in (1, 2):
            path = tmp_path / f"{subtype}{channels}.{kind.lower()}"
            try:
                soundfile.write(path, sound[:, :channels], RATE, format=kind, subtype=subtype, endian=order)
                frames = soundfile.info(path).frames
                expected = soundfile.read(path, frames, dtype="float32", always_2d=True)[0][:, 0]
            except (soundfile.LibsndfileError, ValueError):
                # No such combination, or one that is written without a header.
                continue
            waveform, sample_rate = read_audio(path)
            read.append(subtype)
            if kind != "VOC":
                assert sample_rate == RATE
            if subtype in LOSSY:
                shared = min(len(waveform), len(expected))
                assert abs(len(waveform) - len(expected)) < 1000, subtype
                np.testing.assert_allclose(waveform[:shared], expected[:shared], atol=5e-3, err_msg=subtype)
            else:
                np.testing.assert_allclose(waveform, expected, atol=1e-6, err_msg=subtype)
    if order == "FILE":
        assert read


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
@pytest.mark.parametrize("bits", [8, 16, 24, 32])
def test_floats_on_another_scale_are_refused_with_their_factor(tmp_path: Path, subtype: str, bits: int) -> None:
    sound = np.concatenate([np.zeros(3 * RATE), chirp(0.5), np.zeros(RATE)]) * (2 ** (bits - 1) - 1)
    soundfile.write(tmp_path / "x.wav", sound, RATE, subtype=subtype)
    with pytest.raises(
        MediaError, match=rf"x\.wav has floats up to .*{bits}-bit values, divide them by {2 ** (bits - 1)}"
    ):
        read_audio(tmp_path / "x.wav")


def test_a_short_sound_on_another_scale_is_refused_too_and_clicks_are_none(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "short.wav", 20_000 * sine(440, 0.01, 8000), 8000, subtype="FLOAT")
    with pytest.raises(MediaError, match="and 1 is full scale"):
        read_audio(tmp_path / "short.wav")
    clicks = sine(440, 0.5, 8000)
    clicks[::10] = 30_000
    soundfile.write(tmp_path / "clicks.wav", clicks, 8000, subtype="FLOAT")
    waveform, _ = read_audio(tmp_path / "clicks.wav")
    np.testing.assert_array_equal(waveform, np.clip(clicks, -1, 1))


def write_vorbis(path: Path, sound: Waveform, sample_rate: int) -> None:
    """Write (samples, channels)."""
    with soundfile.SoundFile(path, "w", sample_rate, sound.shape[1], format="OGG", subtype="VORBIS") as file:
        # libsndfile's coder needs a deep stack for a long write at once.
        for start in range(0, len(sound), 4096):
            file.write(sound[start : start + 4096])


@pytest.mark.parametrize("seconds", [0.05, 0.4, 1.0, 1.6, 2.4, 5.0])
@pytest.mark.parametrize("sample_rate", [8_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_vorbis_of_any_length_is_what_libvorbis_decodes(
    tmp_path: Path, seconds: float, sample_rate: int, channels: int
) -> None:
    sound = np.repeat(chirp(seconds, sample_rate)[:, np.newaxis], channels, axis=1)
    write_vorbis(tmp_path / "x.ogg", sound, sample_rate)
    expected, _ = soundfile.read(tmp_path / "x.ogg", dtype="float32", always_2d=True)
    waveform, _ = read_audio(tmp_path / "x.ogg")
    assert len(waveform) == len(sound)
    np.testing.assert_allclose(waveform, expected[:, 0], atol=1e-5)


# Container, codec, sample format, and whether the container states where the sound ends. Then it comes out sample
# for sample as long as it went in; else a coder's filling up of its last block may follow.
TABLE = [
    ("wav", "pcm_s16le", "s16", True),
    ("wav", "pcm_f32le", "flt", True),
    ("w64", "pcm_s16le", "s16", True),
    ("wav", "adpcm_ima_wav", "s16p", False),
    ("wav", "adpcm_ms", "s16", False),
    ("aiff", "pcm_s24be", "s32", True),
    ("caf", "pcm_f64le", "dbl", True),
    ("flac", "flac", "s16", True),
    ("wv", "wavpack", "fltp", True),
    ("tta", "tta", "s16", True),
    ("mp3", "libmp3lame", "fltp", True),
    ("ogg", "libopus", "flt", True),
    ("ogg", "flac", "s16", True),
    ("m4a", "aac", "fltp", True),
    ("m4a", "alac", "s16p", True),
    ("mp4", "aac", "fltp", True),
    ("mp4", "libmp3lame", "fltp", True),
    ("mp4", "libopus", "flt", True),
    ("mp4", "flac", "s16", True),
    ("mov", "aac", "fltp", True),
    ("mov", "pcm_s16le", "s16", True),
    ("3gp", "aac", "fltp", True),
    ("mkv", "libopus", "flt", True),
    ("mkv", "pcm_s24le", "s32", True),
    ("mkv", "flac", "s16", True),
    ("webm", "libopus", "flt", True),
    ("webm", "vorbis", "", False),
    ("mkv", "vorbis", "", False),
]


@pytest.mark.parametrize("seconds", [0.7, 2.3])
@pytest.mark.parametrize(("container", "codec", "sample_format", "states_end"), TABLE)
def test_a_sound_begins_and_ends_where_it_did_before_it_was_coded(
    tmp_path: Path, container: str, codec: str, sample_format: str, states_end: bool, seconds: float
) -> None:
    sound = chirp(seconds)
    path = tmp_path / f"x.{container}"
    if codec == "vorbis":
        write_vorbis(tmp_path / "x.ogg", sound[:, np.newaxis], RATE)
        repack(tmp_path / "x.ogg", path)
    else:
        write_sound(path, as_type(sound, sample_format)[np.newaxis], RATE, codec, sample_format=sample_format)
    waveform, sample_rate = read_audio(path)
    assert sample_rate == RATE
    assert lag(waveform, sound) == 0
    if states_end:
        assert len(waveform) == len(sound)
    else:
        assert abs(len(waveform) - len(sound)) <= 2048
    shared = min(len(waveform), len(sound))
    error = waveform[:shared] - sound[:shared]
    lossless = codec.startswith("pcm") or codec in ("flac", "alac", "wavpack", "tta")
    assert np.sqrt(np.mean(error**2)) < (4e-5 if lossless else 0.05)


def as_type(sound: Waveform, sample_format: str) -> NDArray[Any]:
    if sample_format.startswith("s"):
        bits = int(sample_format[1:3])
        # No float32 lies between 2^31 - 128 and 2^31.
        return np.round(sound.astype(np.float64) * (2.0 ** (bits - 1) - 1)).astype(f"<i{bits // 8}")
    return sound.astype("<f8" if sample_format == "dbl" else "<f4")


def repack(source: Path, target: Path) -> None:
    """Put the packets of a sound into another container, as they are."""
    with av.open(str(source)) as given, av.open(str(target), "w") as taken:
        stream = taken.add_stream_from_template(given.streams.audio[0])
        for packet in given.demux(given.streams.audio[0]):
            if packet.dts is not None:
                packet.stream = stream
                taken.mux(packet)


@pytest.mark.parametrize("channels", [1, 2, 3, 6, 7, 8, 10, 12, 16, 24])
@pytest.mark.parametrize(("codec", "sample_format"), [("wavpack", "s16p"), ("wavpack", "s32p"), ("wavpack", "fltp")])
def test_any_number_of_planar_channels(tmp_path: Path, channels: int, codec: str, sample_format: str) -> None:
    sounds = np.stack([np.full(4000, (number + 1) / 32, np.float32) for number in range(channels)])
    sounds[0] = sine(500, 0.25, 16_000)
    path = tmp_path / "x.wv"
    layout = {1: "mono", 2: "stereo"}.get(channels, f"{channels} channels")
    packed = as_type(np.ascontiguousarray(sounds.T.reshape(1, -1)), sample_format)
    write_planar(path, packed, codec, sample_format, layout, channels)
    waveform, _ = read_audio(path)
    averaged, _ = read_audio(path, channel="mean")
    np.testing.assert_allclose(waveform, sounds[0], atol=1e-4)
    np.testing.assert_allclose(averaged, sounds.mean(axis=0), atol=1e-4)


def write_planar(path: Path, packed: NDArray[Any], codec: str, sample_format: str, layout: str, channels: int) -> None:
    """Interleaved samples in, (1, samples * channels): PyAV's own list of planes ends at eight."""
    resampler = av.AudioResampler(sample_format, layout, 16_000)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=16_000, layout=layout)
        stream.codec_context.format = av.AudioFormat(sample_format)
        for start in range(0, packed.shape[1] // channels, 1000):
            block = np.ascontiguousarray(packed[:, start * channels : (start + 1000) * channels])
            frame = av.AudioFrame.from_ndarray(block, format=sample_format.removesuffix("p"), layout=layout)
            frame.sample_rate, frame.pts = 16_000, start
            for planar in resampler.resample(frame):
                container.mux(stream.encode(planar))
        container.mux(stream.encode(None))


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
@pytest.mark.parametrize("seconds", [(1.0, 1.5), (1.0, 1.0, 1.0), (5.0, 0.4), (0.3, 6.0)])
def test_recordings_that_lie_in_an_ogg_file_one_behind_the_other(
    tmp_path: Path, subtype: str, seconds: tuple[float, ...]
) -> None:
    parts = []
    for number, length in enumerate(seconds):
        # Others in rate and channels too, which FFmpeg does not follow.
        sample_rate, channels = ((48_000, 1), (24_000, 2), (16_000, 1))[number]
        path = tmp_path / f"{number}.ogg"
        with soundfile.SoundFile(path, "w", sample_rate, channels, format="OGG", subtype=subtype) as file:
            sound = np.repeat(sine(400 + 300 * number, length, sample_rate)[:, np.newaxis], channels, axis=1)
            for start in range(0, len(sound), 4096):
                file.write(sound[start : start + 4096])
        parts.append(path.read_bytes())
    (tmp_path / "all.ogg").write_bytes(b"".join(parts))
    waveform, sample_rate = read_audio(tmp_path / "all.ogg")
    assert sample_rate == RATE
    assert len(waveform) == pytest.approx(sum(seconds) * RATE, abs=2)
    start = 0
    for number, length in enumerate(seconds):
        end = start + round(length * RATE)
        assert loudest_frequency(waveform[start:end], RATE) == pytest.approx(400 + 300 * number, abs=4)
        start = end


@pytest.mark.parametrize(
    ("bits", "stored_bytes"), [(16, 2), (12, 2), (24, 3), (20, 3), (24, 4), (20, 4), (16, 4), (16, 3)]
)
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("channels", [1, 2])
def test_core_audio_files_with_room_to_spare(
    tmp_path: Path, bits: int, stored_bytes: int, order: str, channels: int
) -> None:
    """libsndfile refuses what is wider than it need be."""
    values = np.round(sine(440, 0.3, RATE) * (2 ** (bits - 1) - 1)).astype(np.int64)
    stored = np.repeat(values << (8 * stored_bytes - bits), channels).astype(f"{order}i8").view("u1").reshape(-1, 8)
    data = (stored[:, :stored_bytes] if order == "<" else stored[:, 8 - stored_bytes :]).tobytes()
    layout = struct.pack(
        ">d4sIIIII", RATE, b"lpcm", 2 if order == "<" else 0, stored_bytes * channels, 1, channels, bits
    )
    chunks = b"desc" + struct.pack(">q", len(layout)) + layout + b"data" + struct.pack(">qI", len(data) + 4, 0) + data
    (tmp_path / "x.caf").write_bytes(b"caff" + struct.pack(">HH", 1, 0) + chunks)
    waveform, _ = read_audio(tmp_path / "x.caf")
    np.testing.assert_allclose(waveform, values / 2 ** (bits - 1), atol=1e-7)


@pytest.mark.parametrize("order", ["event first", "event last"])
def test_an_event_on_another_scale_is_refused_wherever_it_lies(tmp_path: Path, order: str) -> None:
    rng = np.random.default_rng(0)
    parts: list[NDArray[Any]] = [rng.normal(0, 0.3, 4 * RATE), 20_000 * sine(440, 0.5, RATE)]
    sound = np.concatenate(parts if order == "event last" else parts[::-1])
    soundfile.write(tmp_path / "x.wav", sound, RATE, subtype="FLOAT")
    with pytest.raises(MediaError, match="if they are 16-bit values, divide them by 32768"):
        read_audio(tmp_path / "x.wav")


def test_floats_somewhat_outside_full_scale_are_cut_off_with_a_warning_or_refused(tmp_path: Path) -> None:
    sound = np.concatenate([sine(440, 1.0, RATE), 20 * sine(440, 0.3, RATE)])
    soundfile.write(tmp_path / "some.wav", sound, RATE, subtype="FLOAT")
    with pytest.warns(UserWarning, match=r"some\.wav has floats up to 10, and 1 is full scale; what is louder"):
        waveform, _ = read_audio(tmp_path / "some.wav")
    np.testing.assert_allclose(waveform, np.clip(sound, -1, 1), atol=1e-6)
    soundfile.write(tmp_path / "most.wav", 20 * sine(440, 1.0, RATE), RATE, subtype="FLOAT")
    with pytest.raises(MediaError, match=r"most\.wav has floats up to 10, and 1 is full scale; if they are 8-bit"):
        read_audio(tmp_path / "most.wav")
    # A mix without headroom, as studios keep it.
    soundfile.write(tmp_path / "hot.wav", 3 * sine(440, 1.0, RATE), RATE, subtype="FLOAT")
    read_audio(tmp_path / "hot.wav")


def test_a_header_with_more_valid_bits_than_there_are(tmp_path: Path) -> None:
    """FFmpeg knows no codec for it."""
    values = np.round(sine(440, 0.2, RATE) * (2**31 - 256)).astype(np.int64)
    write_extensible(tmp_path / "x.wav", values, 32, 32, 1)
    raw = bytearray((tmp_path / "x.wav").read_bytes())
    raw[38:40] = struct.pack("<H", 33)
    (tmp_path / "x.wav").write_bytes(raw)
    np.testing.assert_allclose(read_audio(tmp_path / "x.wav")[0], values / 2**31, atol=1e-7)
