"""Compare Stripe's lists with our objects, and check each difference a second time.

The second check fetches the object's current state: a change during the reading is no drift.
"""

import datetime as dt
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from billing.errors import Rejected
from billing.stripe import apply, drift
from billing.stripe.apply import facts_of
from billing.stripe.drift import Difference, Report
from billing.stripe.errors import LivemodeMismatch, StripeKnowsNone
from billing.stripe.kinds import KINDS
from flows.stripe import apply as stripe_apply
from flows.stripe import fetch as stripe_fetch
from gateways.stripe_api import StripeGateway
from worker import clock
from worker.database import transaction

#: Objects that are compared in one transaction: a page of Stripe's.
AT_ONCE = 100

#: Called with the report after each page.
Watch = Callable[[Report], object]


def look(stripe: StripeGateway, *, watch: Watch = lambda _: None) -> Report:
    """Compare everything, and change nothing.

    Raises StripeAway or StripeRefused, and LivemodeMismatch if the key is not of our mode.
    """
    report = Report()
    since = clock.now() - drift.INVOICES_FOR
    for kind in drift.COMPARED:
        report.compared[kind] = 0
        for object_id in _suspects(stripe, kind, report, since=since, watch=watch):
            if len(report.differences) == drift.MAX_DIFFERENCES:
                report.is_cut = True
                break
            if difference := _second_look(stripe, kind, object_id):
                report.differences.append(difference)
    return report


def _suspects(
    stripe: StripeGateway, kind: str, report: Report, *, since: dt.datetime, watch: Watch
) -> Iterator[str]:
    """The ids of objects that seem to differ: listed ones first, then unlisted ones."""
    filters: dict[str, dict[str, object]] = {
        "subscription": {"status": "all"},
        "invoice": {"created": {"gte": int(since.timestamp())}},
    }
    seen: set[str] = set()
    listed = stripe.list(kind, **filters.get(kind, {}))
    while page := list(itertools.islice(listed, AT_ONCE)):
        seen |= {source["id"] for source in page}
        differing = _differing(kind, page)
        report.compared[kind] += len(page)
        watch(report)
        yield from differing
    with transaction() as ctx:
        unseen = drift.unseen(ctx.session, kind, seen, since=since)
    yield from unseen


def _differing(kind: str, page: Iterable[dict[str, Any]]) -> list[str]:
    is_live = stripe_apply.guard().is_live
    differing = []
    with transaction() as ctx:
        for source in page:
            if bool(source.get("livemode")) != is_live:
                raise LivemodeMismatch(object=source["id"], we_are_live=is_live)
            try:
                facts = facts_of(kind, source)
                is_different = drift.compare(ctx.session, kind, source["id"], facts) is not None
            except Rejected:
                is_different = drift.is_ours(ctx.session, kind, source)
            if is_different:
                differing.append(source["id"])
    return differing


def _second_look(stripe: StripeGateway, kind: str, object_id: str) -> Difference | None:
    """Compare the current object, after its prices are fetched."""
    try:
        fetched = stripe_fetch.fetch(stripe, kind, object_id)
        with transaction() as ctx:
            facts = (
                apply.current_facts(ctx, KINDS[kind], object_id, fetched)
                if fetched.object is not None
                else None
            )
            return drift.compare(ctx.session, kind, object_id, facts)
    except StripeKnowsNone:
        return None
    except Rejected as error:
        return drift.unreadable(kind, object_id, error)
