"""Roles of Postgres: the owner of the schema, workers, apps and readers, each with its rights."""
