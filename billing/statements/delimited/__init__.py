"""CSV and other delimited text, read by the profile of each bank."""
