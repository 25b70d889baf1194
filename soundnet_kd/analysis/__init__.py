"""What the features of a layer mean: results, neurons, maps; reads caches and knows no network."""

from soundnet_kd.analysis.evaluation import evaluate
from soundnet_kd.analysis.map_report import project
from soundnet_kd.analysis.maps import umap_map
from soundnet_kd.analysis.neuron_report import neurons
from soundnet_kd.analysis.neurons import NeuronStatistics, neuron_statistics

__all__ = ["NeuronStatistics", "evaluate", "neuron_statistics", "neurons", "project", "umap_map"]
