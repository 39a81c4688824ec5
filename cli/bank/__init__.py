"""`billing statements` and `billing transfers`."""
