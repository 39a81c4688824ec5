"""The Redis transport: queues, leases, envelopes."""
