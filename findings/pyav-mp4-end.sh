#!/usr/bin/env bash
# The same MP4 gives other sounds under PyAV 18.1.0 and 19.0.2, and Opus in MP4 is too long under both.
#
# A coder fills up its last frame. MP4 states in an edit list where the sound ends. The FFmpeg in PyAV 18 decodes the
# filling too, that in PyAV 19 takes it off for AAC and MP3, and both keep it for Opus. `stream.duration` says the length
# without it in all cases. Whoever averages over a whole clip, or counts on equal lengths, gets other numbers from one
# version to the next (PyAV 18 is the last for Python 3.11).
#
# Seen on Linux x86-64, Python 3.12, on 2026-11-29: the lines at the end; 48000 samples were written.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/write.py" <<'PYTHON'
import av
import numpy as np

for codec in ("aac", "libmp3lame", "libopus"):
    sound = (0.4 * np.sin(np.arange(48_000) / 9)).astype(np.float32)[np.newaxis]
    with av.open(f"{codec}.mp4", "w") as container:
        stream = container.add_stream(codec, rate=48_000, layout="mono")
        for start in range(0, 48_000, 960):
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound[:, start : start + 960]), "fltp", "mono")
            frame.sample_rate, frame.pts = 48_000, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
PYTHON
cat > "$folder/read.py" <<'PYTHON'
import av

for codec in ("aac", "libmp3lame", "libopus"):
    with av.open(f"{codec}.mp4") as container:
        stream = container.streams.audio[0]
        decoded = sum(frame.samples for frame in container.decode(stream))
        print(f"PyAV {av.__version__}, {codec}: stream.duration {stream.duration}, decoded {decoded}")
PYTHON
for version in 18.1.0 19.0.2; do
  "${PYTHON:-python3}" -m venv "$folder/$version"
  "$folder/$version/bin/pip" install --quiet "av==$version" "numpy==2.3.5"
done
cd "$folder"
18.1.0/bin/python write.py 2>/dev/null
for version in 18.1.0 19.0.2; do "$version/bin/python" read.py; done > seen 2>/dev/null
cat seen
diff seen - <<'EXPECTED'
PyAV 18.1.0, aac: stream.duration 48000, decoded 48128
PyAV 18.1.0, libmp3lame: stream.duration 48000, decoded 48431
PyAV 18.1.0, libopus: stream.duration 48000, decoded 48648
PyAV 19.0.2, aac: stream.duration 48000, decoded 48000
PyAV 19.0.2, libmp3lame: stream.duration 48000, decoded 48000
PyAV 19.0.2, libopus: stream.duration 48000, decoded 48648
EXPECTED
