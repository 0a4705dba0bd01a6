"""ONNX Runtime: providers, sessions, and the predictor of exported files. Imports neither torch nor onnx."""
