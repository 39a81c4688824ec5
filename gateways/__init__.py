"""The outside world in our words: whom we ask, and what may come of it."""
