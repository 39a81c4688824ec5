"""Seams: two jobs meet on one account, and each ends with one exact value."""
