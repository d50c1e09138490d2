"""A trained model in the formats of other programs: ONNX, PyTorch's own, and a repository for Triton."""
