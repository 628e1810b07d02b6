"""What ovms is compared with: written as someone would who knows the libraries, without ovms."""

from pathlib import Path


def tensorflow_codec_path() -> Path:
    """The program that times TensorFlow's codec, for a Python that has TensorFlow."""
    return Path(__file__).with_name("tensorflow_codec.py")
