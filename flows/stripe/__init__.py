"""Stripe flows: receive, fetch, apply, backfill, reconcile."""
