"""The worker process: app, task base, database, settings, logging, transport, debit reader."""
