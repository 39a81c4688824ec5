"""Manual review of transfers: the queue, the reviewers and their decisions."""
