"""Stripe's objects: one file a kind, with its event types, parser, version rank and effects."""
