"""Several sources of pictures at once, each in its own thread, for one model or several."""
