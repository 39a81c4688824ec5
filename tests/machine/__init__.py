"""One state machine over all jobs, steered to the seams where two of them meet on one account."""
