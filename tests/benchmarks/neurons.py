"""How long the statistics of a layer's neurons take: 256 neurons x 2000 clips x 50 classes, as ESC-50's pool5.

Run it with `python -m tests.benchmarks.neurons`.
"""

import time

import numpy as np

from soundnet_kd.analysis import neuron_statistics
from soundnet_kd.analysis.neurons.chance import ShuffledLabels


def main() -> None:
    rng = np.random.default_rng(0)
    activations = np.maximum(rng.normal(size=(2000, 256)), 0).astype(np.float32)
    labels = np.arange(2000) % 50
    for _ in range(3):
        start = time.perf_counter()
        statistics = neuron_statistics(activations, labels)
        counted = time.perf_counter()
        ShuffledLabels(labels).judge(statistics)
        judged = time.perf_counter()
        print(f"statistics {counted - start:.3f} s, 10000 shuffles {judged - counted:.3f} s")


if __name__ == "__main__":
    main()
