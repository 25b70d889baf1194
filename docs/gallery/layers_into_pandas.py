"""
The layers for a new data set, into pandas
==========================================

``soundnet-kd extract`` hears every sound of a data set once and keeps the layers of a network in one file, with ids,
labels, folds and whatever else your table says of the sounds.
"""

import matplotlib.pyplot as plt
import pandas as pd
from sklearn.decomposition import PCA

from soundnet_kd import FeatureCache, extract

# %%
# A data set
# ----------
# A table with a column ``path`` is the layout that always works. ``label`` and ``fold`` are known by their names,
# others are carried along. Folders in the layout of ESC-50 or UrbanSound8K, a folder for each class, and tars are
# read as they are.

table = pd.read_csv("runs/quickstart/world/sounds.csv")
table["path"] = "quickstart/world/" + table["path"]  # relative to the table
table["take"] = table["path"].str.extract(r"-(\d+)\.wav").astype(int)
table.to_csv("runs/mine.csv", index=False)
print(table.head())

# %%
# First see what it is taken for; nothing is heard yet.

print(extract("runs/mine.csv", "runs/quickstart/student", dry_run=True))

# %%
# Its layers
# ----------
# ``student`` may be a run folder, a file, or the name of published weights: ``soundnet8``, the default, is the
# released SoundNet. Each layer is averaged over time; ``pooling`` says otherwise.

print(extract("runs/mine.csv", "runs/quickstart/student", "runs/mine.h5", layers=["conv3", "conv5", "pool5"]))

# %%
# The file is read like a dictionary of arrays, one row for each sound.

with FeatureCache("runs/mine.h5") as cache:
    for layer in cache.layers:
        print(layer, cache[layer].shape)
    print(cache.network.architecture, cache.network.sha256[:12])
    pool5 = cache.to_pandas("pool5")

# %%
# As a table it has your columns too.

print(pool5[["label", "fold", "take", "pool5_0", "pool5_1"]].head())

# %%
# From here on it is pandas.

numbers = pool5.filter(like="pool5_")
pool5[["x", "y"]] = PCA(2).fit_transform(numbers)
figure, axis = plt.subplots(figsize=(7, 4.5), layout="constrained")
for label, rows in pool5.groupby("label"):
    axis.scatter(rows["x"], rows["y"], s=12, label=label)
axis.set(title="pool5, the first two principal components", xticks=[], yticks=[])
axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))

# %%
# The three neurons that differ most from sound to sound, and what excites them:

busiest = numbers.std().nlargest(3).index
print(pool5.groupby("label")[list(busiest)].mean().round(2))
