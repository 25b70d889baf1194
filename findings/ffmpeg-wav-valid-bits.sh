#!/usr/bin/env bash
# FFmpeg 8 and 9 (in PyAV 18.1.0 and 19.0.2) take the samples of a WAV with an extensible header to be as wide as their
# valid bits, not as their container.
#
# A header of WAVE_FORMAT_EXTENSIBLE says twice how wide a sample is: the container (wBitsPerSample, nBlockAlign), in which
# samples lie, and the valid bits in it, left-justified. Recorders that use Windows' WASAPI write 24 valid bits in 32, for
# example. FFmpeg chooses the decoder by the valid bits. 24 in 32 becomes "24.0 float" (pcm_f24le), 16 in 32 or in 24
# becomes 16-bit samples, of which there are then more than the sound has: the length is wrong, and what comes out is
# noise. No error, no warning. libsndfile 1.2.2 reads all of them. The same demuxer opens RIFX files, which are big-endian,
# and reads their samples as little-endian.
#
# Seen on Linux x86-64, Python 3.12, on 2026-11-29 (in both versions of PyAV): the lines at the end. Right is what lies within
# 0.01 of full scale of what was written.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "${AV:-av==18.1.0}" "numpy==2.3.5" "soundfile==0.14.0"
cat > "$folder/show.py" <<'PYTHON'
import struct
import sys

import av
import numpy as np
import soundfile

RATE = 48_000
wave = 0.4 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)
END_OF_FORMAT = bytes.fromhex("000000001000800000aa00389b71")


def write(path, container, valid):
    values = np.round(wave * (2 ** (valid - 1) - 1)).astype("<i8") << (container - valid)
    data = values.view("u1").reshape(-1, 8)[:, : container // 8].tobytes()
    size = container // 8
    header = struct.pack("<HHIIHHHHIH", 0xFFFE, 1, RATE, RATE * size, size, container, 22, valid, 4, 1) + END_OF_FORMAT
    body = b"WAVEfmt " + struct.pack("<I", len(header)) + header + b"data" + struct.pack("<I", len(data)) + data
    with open(path, "wb") as file:
        file.write(b"RIFF" + struct.pack("<I", len(body)) + body)


def by_ffmpeg(path):
    scale = {"u8": 2.0**7, "s16": 2.0**15, "s32": 2.0**31, "flt": 1.0, "dbl": 1.0}
    with av.open(path) as container:
        stream = container.streams.audio[0]
        frames = [(frame.to_ndarray()[0].astype(float) / scale[frame.format.name]) for frame in container.decode(stream)]
        return stream.codec_context.name, np.concatenate(frames)


def row(name, path):
    codec, heard = by_ffmpeg(path)
    known, _ = soundfile.read(path)
    shared = min(len(heard), RATE)
    error = np.abs(heard[:shared] - wave[:shared]).max()
    print(f"{name}: FFmpeg {codec}, {len(heard)} samples, {'right' if error < 0.01 else 'noise'}; "
          f"libsndfile {len(known)} samples, {'right' if np.abs(known - wave).max() < 0.01 else 'noise'}")


for container, valid in ((16, 12), (24, 20), (32, 32), (24, 16), (32, 16), (32, 20), (32, 24)):
    write("x.wav", container, valid)
    row(f"{valid} bits in {container}", "x.wav")
soundfile.write("x.wav", wave, RATE, subtype="PCM_16", endian="BIG")
row("RIFX, 16 bits", "x.wav")
PYTHON
(cd "$folder" && "$folder/venv/bin/python" show.py) > "$folder/seen" 2>/dev/null
cat "$folder/seen"
diff "$folder/seen" - <<'EXPECTED'
12 bits in 16: FFmpeg pcm_s16le, 48000 samples, right; libsndfile 48000 samples, right
20 bits in 24: FFmpeg pcm_s24le, 48000 samples, right; libsndfile 48000 samples, right
32 bits in 32: FFmpeg pcm_s32le, 48000 samples, right; libsndfile 48000 samples, right
16 bits in 24: FFmpeg pcm_s16le, 72000 samples, noise; libsndfile 48000 samples, right
16 bits in 32: FFmpeg pcm_s16le, 96000 samples, noise; libsndfile 48000 samples, right
20 bits in 32: FFmpeg pcm_s24le, 63984 samples, noise; libsndfile 48000 samples, right
24 bits in 32: FFmpeg pcm_f24le, 48000 samples, noise; libsndfile 48000 samples, right
RIFX, 16 bits: FFmpeg pcm_s16le, 48000 samples, noise; libsndfile 48000 samples, right
EXPECTED
