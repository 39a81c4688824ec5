"""The reader for CSV and other delimited text, by a profile for each bank."""
