"""Networks trained on labelled sounds, under a data set's folds."""
