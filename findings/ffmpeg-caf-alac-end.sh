#!/usr/bin/env bash
# FFmpeg 8 and 9 (in PyAV 18.1.0 and 19.0.2) lose the end of many ALAC sounds in a CAF file.
#
# CAF states how many frames of the last packet are no sound (mRemainderFrames), here exactly as many as ALAC's last packet,
# which is shorter than the others, lacks anyway. FFmpeg takes them off once more, when the last packet has more frames
# than they are: up to 2048 samples of sound are gone, without an error. Older FFmpeg (5.1) gives all samples, as
# libsndfile 1.2.2 does.
#
# Seen on Linux x86-64, Python 3.12, on 2026-11-29 (the same in both versions of PyAV): the lines at the end.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "${AV:-av==18.1.0}" "numpy==2.3.5" "soundfile==0.14.0"
cat > "$folder/show.py" <<'PYTHON'
import av
import numpy as np
import soundfile

for samples in (22050, 14400, 48000, 30000):
    soundfile.write("x.caf", 0.4 * np.sin(np.arange(samples) / 9), 48_000, subtype="ALAC_16")
    with av.open("x.caf") as container:
        stream = container.streams.audio[0]
        decoded = sum(frame.samples for frame in container.decode(stream))
        print(f"{samples} written; libsndfile {soundfile.info('x.caf').frames}, "
              f"FFmpeg says {stream.duration} and decodes {decoded}")
PYTHON
(cd "$folder" && "$folder/venv/bin/python" show.py) > "$folder/seen" 2>/dev/null
cat "$folder/seen"
diff "$folder/seen" - <<'EXPECTED'
22050 written; libsndfile 22050, FFmpeg says 22050 and decodes 22050
14400 written; libsndfile 14400, FFmpeg says 14400 and decodes 12416
48000 written; libsndfile 48000, FFmpeg says 48000 and decodes 46848
30000 written; libsndfile 30000, FFmpeg says 30000 and decodes 30000
EXPECTED
