"""Cached photos, augmentation, and the batches that training and evaluation read."""
