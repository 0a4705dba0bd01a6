"""From a dataset's name to batches of pixels."""
