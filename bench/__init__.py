"""Benches: what this worker does in a second, side by side with what else a user might run."""
