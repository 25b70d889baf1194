#!/usr/bin/env bash
# FFmpeg 8 and 9 (in PyAV 18.1.0 and 19.0.2) shift and cut Ogg Vorbis sounds that fit on one page.
#
# A sound of up to a second or two lies on one page of Ogg, which says at its end how many samples there are. The first
# packet of Vorbis gives no sound. Where there are several pages FFmpeg lets it begin before zero; where there is one it
# begins at zero, so that every frame is stamped late by its 128 or 256 samples, and as many are cut off at the end, since
# they seem to lie behind it. libsndfile 1.2.2 (libvorbis) gives all samples from zero on.
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

RATE = 44_100
for seconds in (0.5, 1.0, 6.0):
    sound = 0.4 * np.sin(np.arange(round(seconds * RATE)) / 9)
    with soundfile.SoundFile("x.ogg", "w", RATE, 1, format="OGG", subtype="VORBIS") as file:
        for start in range(0, len(sound), 4096):
            file.write(sound[start : start + 4096])
    with av.open("x.ogg") as container:
        stream = container.streams.audio[0]
        frames = [(frame.pts, frame.samples) for frame in container.decode(stream)]
        print(f"{len(sound)} written; libsndfile {soundfile.info('x.ogg').frames}; FFmpeg says {stream.duration}, "
              f"decodes {sum(samples for _, samples in frames)}, the first at {frames[0][0]}")
PYTHON
(cd "$folder" && "$folder/venv/bin/python" show.py) > "$folder/seen" 2>/dev/null
cat "$folder/seen"
diff "$folder/seen" - <<'EXPECTED'
22050 written; libsndfile 22050; FFmpeg says 22050, decodes 21922, the first at 128
44100 written; libsndfile 44100; FFmpeg says 44100, decodes 43972, the first at 128
264600 written; libsndfile 264600; FFmpeg says 264600, decodes 264600, the first at 0
EXPECTED
