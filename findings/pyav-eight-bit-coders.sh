#!/usr/bin/env bash
# PyAV 18.1.0 and 19.0.2 write WavPack and TTA with 8 bits, whatever they are given, unless told otherwise.
#
# `container.add_stream("wavpack")` takes the first sample format in the coder's list, which for these lossless coders is
# unsigned 8 bit. Frames of 16 or 32 bits or floats are then converted on the way, without a word, and a lossless file has
# an error of 1/256 of full scale. FLAC's list begins with 16 bits, ALAC's with 32. Setting `stream.codec_context.format`
# to one of `codec.audio_formats` before the first frame keeps the samples.
#
# Seen on Linux x86-64, Python 3.12, on 2026-11-29 (the same in both versions of PyAV): the lines at the end.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "${AV:-av==18.1.0}" "numpy==2.3.5"
cat > "$folder/show.py" <<'PYTHON'
import av
import numpy as np

RATE = 16_000
values = np.round(0.4 * np.sin(np.arange(RATE) / 9) * 32767).astype(np.int16)[np.newaxis]


def largest_error(codec, suffix, sample_format=None):
    with av.open(f"x.{suffix}", "w") as container:
        stream = container.add_stream(codec, rate=RATE, layout="mono")
        if sample_format:
            stream.codec_context.format = av.AudioFormat(sample_format)
        chosen = stream.codec_context.format.name
        for start in range(0, RATE, 1000):
            block = np.ascontiguousarray(values[:, start : start + 1000])
            frame = av.AudioFrame.from_ndarray(block, format="s16", layout="mono")
            frame.sample_rate, frame.pts = RATE, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with av.open(f"x.{suffix}") as container:
        to_16_bits = av.AudioResampler("s16", "mono", RATE)
        read = [part.to_ndarray()[0] for frame in container.decode(audio=0) for part in to_16_bits.resample(frame)]
    error = np.abs(np.concatenate(read).astype(int) - values[0])
    print(f"{codec}: written as {chosen}, largest error {error.max()} of 32768")


largest_error("wavpack", "wv")
largest_error("tta", "tta")
largest_error("flac", "flac")
largest_error("wavpack", "wv", "s16p")
largest_error("tta", "tta", "s16")
PYTHON
(cd "$folder" && "$folder/venv/bin/python" show.py) > "$folder/seen" 2>/dev/null
cat "$folder/seen"
diff "$folder/seen" - <<'EXPECTED'
wavpack: written as u8p, largest error 255 of 32768
tta: written as u8, largest error 255 of 32768
flac: written as s16, largest error 0 of 32768
wavpack: written as s16p, largest error 0 of 32768
tta: written as s16, largest error 0 of 32768
EXPECTED
