"""Use of credits: debits, captures, releases, holds, prices, the inbox and refusals."""
