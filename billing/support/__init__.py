"""Answers for operators: audit, explain, overview."""
