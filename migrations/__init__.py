"""Alembic migrations: the host tables that are missing, and our own schema."""
