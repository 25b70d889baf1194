"""What the features of a layer mean: scores of classes, neurons, maps, figures. It reads files and knows no network."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from soundnet_kd.analysis.maps.projection import umap_map as umap_map
    from soundnet_kd.analysis.neurons.statistics import NeuronStatistics as NeuronStatistics
    from soundnet_kd.analysis.neurons.statistics import neuron_statistics as neuron_statistics

# Each is imported when it is first used.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "maps.projection": ["umap_map"],
        "neurons.statistics": ["NeuronStatistics", "neuron_statistics"],
    },
)
