"""Writes ONNX graphs: the classifier, its preprocessing, and lower precision."""
