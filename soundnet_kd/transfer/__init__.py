"""What the features of a layer are good for: classifiers on top of them."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from soundnet_kd.transfer.comparison import Comparison as Comparison
    from soundnet_kd.transfer.cross_validation import CrossValidation as CrossValidation
    from soundnet_kd.transfer.cross_validation import cross_validate as cross_validate
    from soundnet_kd.transfer.folds import stratified_folds as stratified_folds
    from soundnet_kd.transfer.layers import evaluate_layers as evaluate_layers
    from soundnet_kd.transfer.protocols import PROTOCOLS as PROTOCOLS
    from soundnet_kd.transfer.results import Evaluation as Evaluation
    from soundnet_kd.transfer.results import read_evaluation as read_evaluation

# Each is imported when it is first used: results are read without scikit-learn.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "comparison": ["Comparison"],
        "cross_validation": ["CrossValidation", "cross_validate"],
        "folds": ["stratified_folds"],
        "layers": ["evaluate_layers"],
        "protocols": ["PROTOCOLS"],
        "results": ["Evaluation", "read_evaluation"],
    },
)
