"""What may be asked of the worker: one file per topic; a task only orders the steps."""
