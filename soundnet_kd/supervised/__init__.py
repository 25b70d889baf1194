"""Networks trained on labelled sounds and tested: folds, seeds, tags, tables, figures."""
