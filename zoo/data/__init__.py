"""Datasets: from a name or a path to batches of pixels."""
