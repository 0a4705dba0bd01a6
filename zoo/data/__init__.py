"""From a folder, a table or a dataset's name to batches: image entrance, splits, cache, loader, augmentation."""
