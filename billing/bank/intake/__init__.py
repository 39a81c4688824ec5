"""Bank statement files in: stored once, checked, their lines given fingerprints."""
