"""How many calls a second: many of them in flight on one connection."""
