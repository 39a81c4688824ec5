"""Trials: their end, reminders, extensions and fingerprints."""
