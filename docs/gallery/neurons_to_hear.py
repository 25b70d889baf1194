"""
Neurons that one can hear
=========================

What does a neuron respond to? Take the 5 % of the clips that excite it most: if they are mostly of one class, it has
learned that class, and one can hear it. ``soundnet-kd neurons`` writes this for every neuron, and ``soundnet-kd
report`` makes a page that plays them; here are a few of them by hand.
"""

from base64 import b64encode

import matplotlib.pyplot as plt
import numpy as np

from soundnet_kd import FeatureCache, extract, neuron_statistics

# %%
# The clips that excite a neuron
# ------------------------------
# No label was used to train this student. Labels say afterwards what its neurons have learned.

extract("runs/quickstart/world/sounds.csv", "runs/quickstart/student", "runs/neurons.h5", layers=["conv3", "pool5"])
with FeatureCache("runs/neurons.h5") as cache:
    found = {layer: neuron_statistics(cache[layer], cache.labels, cache.class_names) for layer in cache.layers}
    activations, labels, names, files = cache["pool5"], cache.labels, cache.class_names, cache.paths
pool5 = found["pool5"]
print(pool5)

# %%
# Of each neuron, the share of its clips that are of its best class. Chance is what the commonest class would have by
# itself: with ten classes of equal size, a neuron that knows nothing has its best class at about 30 % of ten clips.
# ``soundnet-kd neurons`` computes that by shuffling the labels.

figure, axis = plt.subplots(figsize=(7, 2.8), layout="constrained")
for layer, statistics in found.items():
    share = np.sort(statistics.best_share)[::-1]
    axis.plot(np.linspace(0, 100, len(share)), 100 * share, label=layer)
axis.set(xlabel="neurons, % of the layer", ylabel="best class, % of its clips", ylim=(0, None))
axis.legend()

# %%
# One neuron for each class
# -------------------------
# The one whose clips are most of that class:

chosen = [int(np.argmax(pool5.share[:, number])) for number in range(len(names))]
for neuron, name in zip(chosen, names, strict=True):
    print(f"{name:<10} neuron {neuron:>3}: {pool5.share[neuron, names.index(name)]:.0%} of its strongest clips")

# %%
# A neuron's activation, clip by clip, strongest first. The line is its 95th percentile: what lies left of it excites
# it.

neuron = max(chosen, key=lambda each: pool5.best_share[each])
best = names[pool5.best_class[neuron]]
order = pool5.order[neuron]
figure, axis = plt.subplots(figsize=(7, 2.8), layout="constrained")
is_best = labels[order] == pool5.best_class[neuron]
axis.bar(np.arange(len(order)), activations[order, neuron], width=1, color=np.where(is_best, "C1", "lightgrey"))
axis.axhline(pool5.thresholds[neuron], color="black", linewidth=0.8)
axis.set(title=f"pool5, neuron {neuron}; orange: {best}", xlabel="clips, by activation", ylabel="activation")

# %%
# Listen
# ------
# The three that excite it most, and then the one that excites it least.


class Players:
    """Sounds, for whoever reads this in a browser."""

    def __init__(self, files):
        self.data = [b64encode(file.read_bytes()).decode() for file in files]

    def _repr_html_(self):
        return " ".join(f'<audio controls src="data:audio/wav;base64,{each}"></audio>' for each in self.data)


Players([files[number] for number in (*order[:3], order[-1])])

# %%
# The page of the quickstart, ``runs/quickstart/report/index.html``, has all neurons of four layers, with their clips.
# :doc:`Neurons, maps and the page </page>` says how to make one of your own run.
