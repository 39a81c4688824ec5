"""Matching of incoming transfers with open invoices: pure rules, and the rows they read."""
