"""Dunning: cases of missed payments and the schedule that they follow."""
