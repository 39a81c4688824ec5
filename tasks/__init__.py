"""The tasks of the worker, one file per topic. A task only orders the steps."""
