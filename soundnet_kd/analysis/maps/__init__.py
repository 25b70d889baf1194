"""UMAP maps of a layer: the projection, measures of its quality, still and interactive figures."""
