"""BAI2: cash management balance reports."""
