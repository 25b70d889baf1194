"""How networks are trained: batches, augmentation, optimization, checkpoints, devices, the trainer itself."""
