"""Monthly credits: credit cycles, renewals, rollover, expiry, the signup grant, plan changes."""
