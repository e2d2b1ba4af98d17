"""The worker that is left to run: how it ends, what it outlives, what it tells."""
