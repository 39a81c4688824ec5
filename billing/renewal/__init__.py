"""Monthly credits: credit cycles, renewals, rollover, expiry, signup grant, plan changes."""
