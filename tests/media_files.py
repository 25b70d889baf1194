"""Real media files made on the spot, straight with PyAV: the readers are never checked by the package's own writer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.audio.stream import AudioStream
from av.video.stream import VideoStream
from numpy.typing import NDArray

BITS = 8
Pixels = NDArray[np.uint8]
Waveform = NDArray[np.float32]


def numbered_picture(number: int, height: int = 64, width: int = 96) -> Pixels:
    """Write a number below 256 into a picture as eight black or white bands, which survive any codec."""
    bands = np.array([number >> bit & 1 for bit in range(BITS)], np.uint8) * 255
    row = np.repeat(bands, width // BITS)
    return np.broadcast_to(row[np.newaxis, :, np.newaxis], (height, width, 3)).copy()


def number_of(picture: Pixels) -> int:
    """Read the number back; the picture may have another size than when it was written."""
    centres = [(2 * bit + 1) * picture.shape[1] // (2 * BITS) for bit in range(BITS)]
    return sum(int(picture[picture.shape[0] // 2, centre].mean() > 127) << bit for bit, centre in enumerate(centres))


def write_numbered(
    path: Path,
    ticks: Sequence[int],
    time_base: Fraction,
    *,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    key_every: int = 12,
    b_frames: int = 2,
    adjust: Callable[[VideoStream], None] = lambda stream: None,
    options: dict[str, str] | None = None,
    format: str | None = None,
) -> None:
    """Write pictures 0, 1, 2, ... that are shown from `ticks` (in units of `time_base`) on."""
    with av.open(str(path), "w", format=format, options=options or {}) as container:
        stream = cast(VideoStream, container.add_stream(codec, rate=25))
        stream.width, stream.height, stream.pix_fmt = 96, 64, pixel_format
        stream.time_base = stream.codec_context.time_base = time_base
        if codec == "libx264":
            stream.codec_context.gop_size = key_every
            stream.codec_context.max_b_frames = b_frames
            stream.options = {"x264-params": f"scenecut=0:b-adapt=0:keyint={key_every}:open-gop=1"}
        adjust(stream)
        for number, tick in enumerate(ticks):
            frame = av.VideoFrame.from_ndarray(numbered_picture(number), format="rgb24")
            frame.pts, frame.time_base = tick, time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def sine(frequency: float, seconds: float, sample_rate: int, level: float = 0.5) -> Waveform:
    moments = np.arange(round(seconds * sample_rate)) / sample_rate
    return (level * np.sin(2 * np.pi * frequency * moments)).astype(np.float32)


def loudest_frequency(waveform: Waveform, sample_rate: int) -> float:
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform))))
    return float(spectrum.argmax() * sample_rate / len(waveform))


def audio_frame(samples: NDArray[Any], sample_format: str, layout: str, sample_rate: int, pts: int) -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(samples, format=sample_format, layout=layout)
    frame.sample_rate, frame.pts, frame.time_base = sample_rate, pts, Fraction(1, sample_rate)
    return frame


def write_sound(
    path: Path,
    samples: NDArray[Any],
    sample_rate: int,
    codec: str,
    *,
    sample_format: str = "fltp",
    layout: str = "mono",
    first_sample: int = 0,
    change_packet: Callable[[int, av.Packet[Any]], av.Packet[Any] | None] = lambda index, packet: packet,
    format: str | None = None,
    with_picture: bool = False,
) -> None:
    """Write `samples`, (channels or 1, samples) as PyAV lays them out; packets can be changed or dropped on the way."""
    packed = "p" not in sample_format
    channels = len(av.AudioLayout(layout).channels) if packed else 1
    with av.open(str(path), "w", format=format) as container:
        picture = container.add_stream("mpeg4", rate=25) if with_picture else None
        stream = cast(AudioStream, container.add_stream(codec, rate=sample_rate, layout=layout))
        if sample_format in {known.name for known in stream.codec_context.codec.audio_formats or ()}:
            # Else some coders take the first that they know, of 8 bits.
            stream.codec_context.format = av.AudioFormat(sample_format)
        if picture is not None:
            picture.width, picture.height, picture.pix_fmt = 96, 64, "yuv420p"
            for number in range(25):
                container.mux(picture.encode(av.VideoFrame.from_ndarray(numbered_picture(number), format="rgb24")))
            container.mux(picture.encode(None))
        packets = []
        for start in range(0, samples.shape[1] // channels, 1024):
            block = np.ascontiguousarray(samples[:, start * channels : (start + 1024) * channels])
            packets += stream.encode(audio_frame(block, sample_format, layout, sample_rate, first_sample + start))
        packets += stream.encode(None)
        for index, packet in enumerate(packets):
            changed = change_packet(index, packet)
            if changed is not None:
                container.mux(changed)


def garbage_instead_of(packet: av.Packet[Any]) -> av.Packet[Any]:
    """Give a packet at the same time that no decoder accepts."""
    garbage: av.Packet[Any] = av.Packet(bytes([0xAA] * packet.size))
    garbage.pts, garbage.dts, garbage.time_base = packet.pts, packet.dts, packet.time_base
    garbage.duration = packet.duration
    garbage.stream = packet.stream
    return garbage
