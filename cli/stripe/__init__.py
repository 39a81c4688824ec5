"""`billing stripe`."""
