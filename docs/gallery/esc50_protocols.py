"""
The ESC-50 protocols, and what each number means
================================================

"SoundNet has 74.2 % on ESC-50" and "I get 68 %" may both be right: between them lie a protocol, a layer, and how the
settings were chosen. Here are the four protocols side by side, on sounds that are made, and then what to write beside a
number.
"""

import matplotlib.pyplot as plt
import pandas as pd

from soundnet_kd import FeatureCache, cross_validate, extract
from soundnet_kd.commands.evaluate import evaluate
from soundnet_kd.transfer import PROTOCOLS, read_evaluation

# %%
# Four protocols
# --------------

for name, protocol in PROTOCOLS.items():
    print(f"{name:<9} {protocol.about}")

# %%
# The sounds of the quickstart lie in five folds, like ESC-50's. With ESC-50 itself only this line changes:
# ``sounds = "ESC-50/"``, the folder with ``meta/`` and ``audio/``. ``paper`` looks at windows of 1 s, so that it
# needs a layer's whole sequence in time.

sounds = "runs/quickstart/world/sounds.csv"
extract(sounds, "runs/quickstart/student", "runs/pool5.h5", layers=["pool5"], sequences=True)

accuracy, by_fold = {}, {}
for name in PROTOCOLS:
    found = evaluate("runs/pool5.h5", f"runs/protocols/{name}", protocol=name).evaluation.results["pool5"]
    accuracy[name] = found.accuracy
    by_fold[name] = found.fold_accuracy
print(pd.DataFrame(by_fold, index=[f"fold {fold}" for fold in found.folds]).T.map("{:.1%}".format))

# %%
# A mean over five folds has a spread. Two protocols that differ by less than it differ by chance, as far as one can
# tell; ``soundnet-kd compare`` tests it clip by clip.

table = pd.DataFrame(by_fold)
figure, axis = plt.subplots(figsize=(7, 2.6), layout="constrained")
axis.barh(table.columns, table.mean(), xerr=table.std(ddof=0))
axis.invert_yaxis()
axis.set(xlabel="accuracy, and the deviation over the folds", xlim=(0, 1))

# %%
# Who chose the settings
# ----------------------
# ``notebook`` tries six values of C and reports the best by the same folds. That is too optimistic: with ``nested``
# selection each fold's C is chosen inside the other folds.

with FeatureCache("runs/pool5.h5") as cache:
    for selection in ("same folds", "nested"):
        found = cross_validate(cache["pool5"], cache.labels, cache.folds, protocol="notebook", selection=selection)
        print(f"{selection:<10} {found.accuracy:.1%}, C = {sorted({setting['C'] for setting in found.chosen})}")

# %%
# What to write beside a number
# -----------------------------
# Everything stands in ``results.json``:

about = read_evaluation("runs/protocols/best")
print("protocol ", about.protocol)
print("layer    ", about.best_layer)
print("folds    ", about.fold_origin)
print("chance   ", f"{about.chance:.0%}")
print("network  ", about.network.architecture, about.network.sha256[:12])
print("versions ", about.source["versions"])

# %%
# and what no file knows: whether the sounds were the official ones. A copy of ESC-50 in 16 kHz and 8 bit costs the
# released network four points. :doc:`Evaluation and its protocols </protocols>` has ESC-50's figures, :doc:`What goes
# wrong in SoundNet's ports </ports>` the reasons why yours may be others.
