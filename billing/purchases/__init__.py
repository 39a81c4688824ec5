"""Purchases: what a payment bought, and clawbacks when its money goes back."""
