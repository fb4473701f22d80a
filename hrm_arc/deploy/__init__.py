"""Deployment: import, export, quantization, inference in ONNX Runtime, and validation on any machine."""
