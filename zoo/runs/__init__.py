"""The run folder: its record, weights, tags and manifest."""
