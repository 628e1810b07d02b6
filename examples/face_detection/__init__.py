"""Face detection: a real model, the server and its client, in one command."""
