"""Simulated lives of customers who pay by card and by bank, held against a plain model of money."""
