"""The domain: rules are pure functions; acts take a session and never commit."""
