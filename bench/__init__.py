"""Benches: the worker's throughput, side by side with alternatives that a user might run."""
