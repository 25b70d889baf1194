"""The linear SVM over all classes and penalties at once: the estimator, and the solver under it."""
