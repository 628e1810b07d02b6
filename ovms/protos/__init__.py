"""Message definitions for the cold calls; no TensorFlow, and no generated files, are needed to import them."""
