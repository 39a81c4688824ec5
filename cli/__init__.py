"""The `billing` command line, for operators."""
