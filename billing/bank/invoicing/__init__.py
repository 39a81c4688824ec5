"""Invoices for customers who pay by bank transfer: issued, renewed, reminded of."""
