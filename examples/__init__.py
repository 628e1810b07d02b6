"""Runnable demonstrations of the server; each folder is one, with its own README."""
