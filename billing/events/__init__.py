"""Events for the main app: the outbox and its deliveries."""
