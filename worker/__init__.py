"""How the process lives: app, task base, database, settings, logging, embedded stack."""
