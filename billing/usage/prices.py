"""Prices of AI operations: the version in force when the operation happened.

The versions are rows of `billing.prices`: our defaults, and a row from a trigger for each change
that the main app makes to a CreditCostConfig. The SQL function `billing.price_of` reads the same
rows in the same way; it is asked about now, so it needs no price for work before the first one.
"""

import datetime as dt
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy.orm import Session

from billing.errors import UnknownOperation
from billing.postgres import sql

_EVER = dt.datetime.min.replace(tzinfo=dt.UTC)


class Price(NamedTuple):
    """`credits_per_unit` for each started `units_per_price` units, or one fixed price."""

    credits_per_unit: int
    units_per_price: int = 1
    is_fixed: bool = False
    is_active: bool = True
    valid_from: dt.datetime = _EVER

    def of(self, units: int) -> int:
        """Return the cost of `units`, in credits: 101 words at 1 credit per 100 cost 2."""
        if self.is_fixed:
            return self.credits_per_unit
        return -(-units // self.units_per_price) * self.credits_per_unit


@dataclass(frozen=True, slots=True)
class PriceBook:
    """Every version of every price, by operation, newest first."""

    versions: dict[str, list[Price]]

    def cost(self, operation: str, units: int, *, at: dt.datetime) -> int:
        """Return the cost of an operation done at `at`, in credits. Raises UnknownOperation.

        The first price counts for earlier work, too: it waited for that price. A price that was
        switched off leaves later work without one.
        """
        versions = self.versions.get(operation, ())
        then = next((price for price in versions if price.valid_from <= at), None)
        if then is None or not any(p.is_active for p in versions if p.valid_from <= at):
            then = next((price for price in reversed(versions) if price.is_active), None)
        if then is None or not then.is_active:
            raise UnknownOperation(operation=operation)
        return then.of(units)


_READ = """
SELECT operation, credits_per_unit, units_per_price, is_fixed, is_active,
       CASE WHEN isfinite(valid_from) THEN valid_from END
FROM billing.prices ORDER BY valid_from DESC
"""


def load(session: Session) -> PriceBook:
    """Read the price book, a few dozen rows."""
    versions: dict[str, list[Price]] = {}
    for operation, *columns, valid_from in sql.rows(session, _READ, {}):
        price = Price._make((*columns, valid_from or _EVER))
        versions.setdefault(operation, []).append(price)
    return PriceBook(versions)
