"""The ledger: balances, entries, lots, idempotency keys, hash chain, grants and reversals."""
