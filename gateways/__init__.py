"""The outside world in our words: nothing else talks to it."""
