"""The formats that a run is exported to: ONNX, an archive of `torch.export`, a Triton model repository."""
