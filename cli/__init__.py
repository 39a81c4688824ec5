"""The operator's hands: the `billing` command line."""
