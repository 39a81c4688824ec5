"""The reader for BAI2: cash management balance reports."""
