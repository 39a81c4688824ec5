"""The folder that a mutant's child processes find on PYTHONPATH, with their `sitecustomize`."""
