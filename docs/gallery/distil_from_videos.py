"""
A student from a folder of videos
=================================

A folder of videos without any label becomes a network that hears: image networks, the teachers, say what they see in
a frame of every 5 s, and a student learns to say the same by the sound alone. Two commands:

.. code-block:: sh

    soundnet-kd teach videos/ --out targets --objects resnet50:IMAGENET1K_V2 --scenes resnet18:PLACES365
    soundnet-kd distill targets --out student --steps 10000

Here they are called from Python, and for a minute only.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from soundnet_kd import FeatureCache, cross_validate, extract
from soundnet_kd.commands.distill import distill
from soundnet_kd.commands.teach import teach
from soundnet_kd.data import Targets
from soundnet_kd.media import read_frames

# %%
# Videos
# ------
# The quickstart has made 240 of 20 s: things that move through a room or a landscape, and the sounds that they make.
# In their place give a folder, a table with a column ``path``, tars, or an address.

videos = "runs/quickstart/world/videos"

figure, axes = plt.subplots(1, 4, figsize=(9, 2), layout="constrained")
for axis, seconds in zip(axes, (2.5, 7.5, 12.5, 17.5), strict=True):
    [frame] = read_frames(f"{videos}/0000.mp4", [seconds])
    axis.imshow(frame.image)
    axis.set(title=f"{seconds} s", xticks=[], yticks=[])

# %%
# Teachers
# --------
# For real videos take ``resnet50:IMAGENET1K_V2`` and ``resnet18:PLACES365``, which are fetched once. Those of the
# quickstart know the things and the places of its world; they are files of weights that hold their class names.
#
# With ``keep_features`` the targets also hold what the teachers have before their last layer, for objectives that
# compare features.

labelled = teach(
    videos,
    "runs/targets",
    objects="runs/quickstart/teachers/objects.safetensors",
    scenes="runs/quickstart/teachers/scenes.safetensors",
    keep_features=True,
)
print(labelled)

# %%
# What they saw in the first video. The student is to say the same by these 20 s of sound.

targets = Targets("runs/targets")
clip = targets[0]
figure, axes = plt.subplots(2, 1, figsize=(9, 4.5), sharex=True, layout="constrained")
axes[0].plot(np.arange(len(clip.sound)) / targets.sample_rate, clip.sound, linewidth=0.3)
axes[0].set(title=f"{clip.source}: sound", yticks=[])
names = targets.class_names["objects"]
steps = len(clip.distributions["objects"])
axes[1].imshow(clip.distributions["objects"].T, extent=(0, steps * clip.step_seconds, len(names), 0), aspect="auto")
axes[1].set(title="what the teacher of objects saw", xlabel="s", yticks=np.arange(len(names)) + 0.5, yticklabels=names)

# %%
# The student
# -----------
# 40 steps of four clips. The paper made 100 000 of 64, from two million videos. Started again, ``distill`` goes on
# where it was; here it is done, and says so.

print(
    distill(
        "runs/targets",
        "runs/student",
        objectives=["kl", "contrast"],
        teacher_weights={"objects": 16},
        steps=40,
        batch_size=4,
        learning_rate=3e-4,
        schedule="cosine",
    )
)
history = pd.read_csv("runs/student/history.csv")
figure, axis = plt.subplots(figsize=(9, 2.5), layout="constrained")
history.dropna(subset="train/loss").plot(x="step", y="train/loss", ax=axis)

# %%
# Did it learn?
# -------------
# Sounds that neither it nor the teachers have met, ten kinds in five folds: the accuracy of a linear SVM on the
# student's layers, before the first step and after the last. ``soundnet-kd extract`` and ``evaluate`` do the same.

accuracy = {}
for name in ("untrained", "student"):
    extract(
        "runs/quickstart/world/sounds.csv", f"runs/student/{name}.safetensors", f"runs/{name}.h5", ["conv5", "conv7"]
    )
    with FeatureCache(f"runs/{name}.h5") as cache:
        accuracy[name] = {
            layer: cross_validate(cache[layer], cache.labels, cache.folds).accuracy for layer in cache.layers
        }
print((100 * pd.DataFrame(accuracy)).round(1))

# %%
# Where to go from here: :doc:`the options of both commands </students>`, :doc:`many machines </many_machines>`, and
# ``soundnet-kd report``, which makes a page of a run.
