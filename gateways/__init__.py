"""External servers: Stripe's API, webhooks to the main app, and the main app's queue."""
