"""The batch reader of the debit queue and of the inbox."""
