"""
Export to ONNX
==============

A student as one file that runs without PyTorch and without this package, with its preprocessing inside:

.. code-block:: sh

    soundnet-kd export run/student --out student.onnx --outputs pool5 objects
"""

import json
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import onnxruntime
import soundfile

from soundnet_kd import FeatureCache, export, extract

# %%
# Write it
# --------
# The file is compared with PyTorch on noise, on made sounds and on those that you name before it is kept.

sounds = sorted(Path("runs/quickstart/world/sounds").glob("*.wav"))
print(export("runs/quickstart/student", out="runs/student.onnx", outputs=["pool5", "objects"], sounds=sounds[:3]))
print(f"{Path('runs/student.onnx').stat().st_size / 1e6:.0f} MB")

# %%
# Run it
# ------
# From here on only ONNX Runtime and NumPy are needed, or ONNX in any other language. The file says what it wants and
# what its answers mean.

session = onnxruntime.InferenceSession("runs/student.onnx")
about = session.get_modelmeta().custom_metadata_map
names = json.loads(about["class_names"])["objects"]
for put in (*session.get_inputs(), *session.get_outputs()):
    print(f"{put.name:<9} {put.shape}")
print("rate     ", about["sample_rate"])
print("classes  ", ", ".join(names))

# %%
# It takes sounds of any length, in ±1; scaling to ±256 and repeating what is short happens inside.

waveform, rate = soundfile.read(sounds[0], dtype="float32")
assert rate == int(about["sample_rate"])
pool5, objects = session.run(None, {"waveform": waveform[None]})
guess = objects[0].mean(axis=1)
figure, axis = plt.subplots(figsize=(7, 2.6), layout="constrained")
axis.barh(names, guess)
axis.set(title=sounds[0].name, xlabel="probability")

# %%
# The same numbers
# ----------------

extract(sounds[:1], "runs/quickstart/student", "runs/one.h5", layers=["pool5"])
with FeatureCache("runs/one.h5") as cache:
    print(f"greatest difference {np.abs(cache['pool5'] - pool5).max():.1e}, of values up to {pool5.max():.1f}")

# %%
# and how long it takes, of a second of sound:

second = waveform[None, :rate]
session.run(None, {"waveform": second})
begin = time.perf_counter()
session.run(None, {"waveform": second})
print(f"{1000 * (time.perf_counter() - begin):.0f} ms")

# %%
# :doc:`Networks in other programs </export>` has OpenVINO, ``torch.export``, and JavaScript.
