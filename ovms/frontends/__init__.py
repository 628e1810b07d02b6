"""Transports: each turns its calls into calls of the data plane and the cold API, and codes into its own."""
