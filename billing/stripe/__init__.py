"""Stripe: an event hints that an object changed; what we do follows from the newest states."""
