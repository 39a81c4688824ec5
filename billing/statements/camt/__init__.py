"""The reader for camt.052, camt.053 and camt.054: ISO 20022 bank-to-customer messages."""
