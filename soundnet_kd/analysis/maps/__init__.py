"""UMAP maps of a layer: the projection, how far to trust it, still and interactive figures."""
