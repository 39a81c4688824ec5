"""Fast ways into Postgres for batches, and which of its errors are transient."""
