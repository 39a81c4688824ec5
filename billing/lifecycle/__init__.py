"""The life of an account: status, transitions and plan limits."""
