"""What the features of a layer are good for: classifiers on top of them."""

from soundnet_kd.transfer.comparison import Comparison
from soundnet_kd.transfer.cross_validation import CrossValidation, cross_validate
from soundnet_kd.transfer.folds import stratified_folds
from soundnet_kd.transfer.layers import evaluate_layers
from soundnet_kd.transfer.protocols import PROTOCOLS
from soundnet_kd.transfer.results import Evaluation, read_evaluation

__all__ = [
    "PROTOCOLS",
    "Comparison",
    "CrossValidation",
    "Evaluation",
    "cross_validate",
    "evaluate_layers",
    "read_evaluation",
    "stratified_folds",
]
