#!/usr/bin/env bash
# X-ARES 0.1.3: encodings and scores are kept by the name of the encoder's class, so that a second encoder under the same name
# gets the scores of the first without being called once.
#
# Here the first knows each sound's class, and the second raises whenever it is called. Needs FFmpeg's libraries: without
# them, or without torchcodec, which X-ARES does not install, each sound is left out with a warning.
#
# Seen on Linux x86-64, Python 3.11, on 2026-11-30: the lines at the end.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "xares==0.1.3" "torch==2.14.1" "torchcodec==0.17.0" "soundfile==0.14.0" "numpy==2.3.5"
cat > "$folder/show.py" <<'PYTHON'
import numpy as np
import soundfile
import torch
from xares.audiowebdataset import write_audio_tar
from xares.task import TaskConfig, XaresTask


def encoder(forward):
    settings = {"sampling_rate": 16_000, "output_dim": 2, "hop_size_in_ms": 1000, "forward": forward}
    return type("MyEncoder", (torch.nn.Module,), settings)()


def loudness(self, audio):
    power = audio.square().mean(dim=1)
    return torch.stack([power, 1 - power], dim=1)[:, None]


def fails(self, audio):
    raise RuntimeError("called")


def scores(forward):
    config = TaskConfig(
        name="two", env_root="env", encoder=encoder(forward), k_fold_splits=[1, 2], label_processor=lambda d: d["label"],
        output_dim=2, num_encoder_workers=0,
    )
    task = XaresTask(config)
    task.make_encoded_tar()
    return task.run_mlp()[0], task.run_knn()[0]


rng = np.random.default_rng(0)
for fold in (1, 2):
    paths = [f"{fold}-{number}.wav" for number in range(20)]
    for number, path in enumerate(paths):
        soundfile.write(path, rng.uniform(-1, 1, 16_000) * (0.1, 0.8)[number % 2], 16_000)
    labels = [{"label": number % 2} for number in range(20)]
    write_audio_tar(paths, labels, f"env/two/wds-audio-fold-{fold}-*.tar", num_shards=1)
open("env/two/.audio_tar_ready", "w").close()
first = scores(loudness)
print("the first encoder's kNN:", float(first[1]))
print("the second, which raises when it is called, has the same scores:", scores(fails) == first)
PYTHON
mkdir -p "$folder/env/two"
(cd "$folder" && "$folder/venv/bin/python" show.py) > "$folder/all" 2>/dev/null
grep "^the " "$folder/all" > "$folder/seen"
cat "$folder/seen"
diff "$folder/seen" - <<'EXPECTED'
the first encoder's kNN: 1.0
the second, which raises when it is called, has the same scores: True
EXPECTED
