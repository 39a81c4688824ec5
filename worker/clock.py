"""The one place that reads the clock; everywhere else the time is an argument."""

import datetime as dt
from functools import partial

#: The time, in UTC.
now = partial(dt.datetime.now, dt.UTC)
