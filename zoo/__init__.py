"""A plugin-based model zoo for image classifiers: fine-tune any backbone with any head on your photos."""
