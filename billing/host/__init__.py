"""The main app's tables: every statement that touches them."""
