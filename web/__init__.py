"""HTTP: the Stripe relay."""
