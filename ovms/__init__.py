"""A model server: OpenVINO behind the TensorFlow Serving API."""

__version__ = "0.1.0"
