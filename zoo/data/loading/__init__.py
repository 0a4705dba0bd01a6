"""Cached photos, augmentation, and the batches for training and evaluation."""
