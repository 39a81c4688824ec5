"""Dunning: cases of missed payments, the schedule that they follow, and its sweep."""
