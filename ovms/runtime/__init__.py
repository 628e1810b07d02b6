"""From a version's files to a compiled model."""
