"""Money that comes by bank: statements imported, transfers matched, invoices settled."""
