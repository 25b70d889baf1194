"""What the features of a layer mean: scores of classes, neurons, maps, figures. It reads files and knows no network."""

from soundnet_kd.analysis.maps.projection import umap_map
from soundnet_kd.analysis.neurons.statistics import NeuronStatistics, neuron_statistics

__all__ = ["NeuronStatistics", "neuron_statistics", "umap_map"]
