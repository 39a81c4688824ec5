"""The reader for MT940 and MT942: SWIFT customer statements."""
