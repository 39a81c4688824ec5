"""The clock: the one place that reads it. Elsewhere the time is an argument."""

import datetime as dt
from functools import partial

#: Return the time, in UTC.
now = partial(dt.datetime.now, dt.UTC)
