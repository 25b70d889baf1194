"""
Your own sounds, heard by the released network
==============================================

SoundNet learned from two million videos to tell by the sound alone which objects and which places are in the picture.
Give it a file of your own, and it says what it hears, for every 5 s. On the command line that is

.. code-block:: sh

    soundnet-kd predict mine.wav --top 3 --per_step

and this is the same from Python.
"""

from base64 import b64encode
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from soundnet_kd.commands.predict import predict
from soundnet_kd.media import read_audio, write_audio
from soundnet_kd.pretrained.students import student_place

# %%
# A sound
# -------
# Any file will do that FFmpeg reads, also a video. Here three sounds of the quickstart, one after the other, 5 s
# each.

RATE = 22_050
sounds = Path("runs/quickstart/world/sounds")
parts = [
    read_audio(next(iter(sorted(sounds.glob(f"{name}-*.wav")))), RATE)[0] for name in ("bell", "siren", "motorbike")
]
mine = np.concatenate([np.resize(part, 5 * RATE) for part in parts])
write_audio("runs/mine.wav", mine, RATE)


class Player:
    """A sound, for whoever reads this in a browser."""

    def __init__(self, file):
        self.data = b64encode(Path(file).read_bytes()).decode()

    def _repr_html_(self):
        return f'<audio controls src="data:audio/wav;base64,{self.data}"></audio>'


Player("runs/mine.wav")

# %%
# A network
# ---------
# ``soundnet8`` is the released network. It is fetched when it is first needed (54 MB, verified), and kept. This page
# is also built where there is no network; then the student of the quickstart listens, which knows ten kinds of sound
# and no more.

released_is_here = student_place("soundnet8").is_file()
student = "soundnet8" if released_is_here else "runs/quickstart/student"
print(f"{student} listens")

# %%
# What it hears
# -------------
# Rate, scaling to ±256 and the repetition of short sounds are the network's own affair: a file is all that it needs.

heard = predict("runs/mine.wav", student=student, top=3, per_step=True)
print(heard)

# %%
# The answer is also there as rows: file, start, end, head, rank, class, probability.

rows = [row for row in heard.rows() if row[3] == "objects"]
starts = sorted({row[1] for row in rows})
figure, axes = plt.subplots(1, len(starts), figsize=(9, 2.2), sharex=True, layout="constrained")
for axis, start in zip(axes, starts, strict=True):
    names, shares = zip(*[(row[5], row[6]) for row in rows if row[1] == start], strict=True)
    axis.barh(names, shares)
    axis.invert_yaxis()
    axis.set(title=f"{start:g} to {start + 5:g} s", xlabel="probability")

# %%
# The released network's classes are ImageNet's 1000 objects and 401 places: it has no class for most sounds, and
# names what is seen where such a sound is heard (a chain saw is "racer" on a "raceway"). Of the sounds here, which a
# program made, it is sure of nothing: 1 % of 1000 classes is near to a guess. Put in a recording of your own.
#
# Its inner layers tell more than its answers; :ref:`sphx_glr_examples_layers_into_pandas.py` keeps them.
