"""Alembic migrations of the host tables that are missing and of our own schema."""
