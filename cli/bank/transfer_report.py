"""A run report as one static page: no script, no style from elsewhere, everything escaped."""

import datetime as dt
from collections.abc import Iterable, Sequence
from html import escape

from billing.bank.review.queue import Sum, Waiting
from billing.statements.plain import shown_amount

#: kind -> how the page names it, in the order shown
KINDS = {
    "settled": "Matched: on invoices",
    "credited": "Kept as customers' credit",
    "waiting": "Waiting for a person",
    "open": "Not looked at yet",
    "frozen": "Frozen: perhaps taken back",
    "held": "Statements held (what they would move)",
    "unapplied": "Unapplied cash of accounts",
    "duplicate": "Paid twice",
    "ignored": "None of a customer's",
    "reversed": "Taken back",
    "reverses": "Returns that took something back",
}
_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Bank transfers</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<style>
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; color: #222 }
table { border-collapse: collapse; width: 100%; margin: 0 0 2rem }
th, td { text-align: left; vertical-align: top; padding: .35rem .6rem;
         border-bottom: 1px solid #ddd }
td.amount { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums }
</style></head><body>
"""


def page(sums: Sequence[Sum], waiting: Iterable[Waiting], *, now: dt.datetime) -> str:
    """The page, as text. `waiting`: what is listed one by one."""
    rows = [
        [KINDS[kind], one.count, shown_amount(one.amount_minor, one.currency)]
        for kind in KINDS
        for one in sums
        if one.kind == kind
    ]
    listed = [
        [
            one.id,
            one.booking_date,
            one.payer or "",
            one.text,
            "; ".join([one.review or "", *one.vetoes]),
            "; ".join(f"{each['why']} ({each['score']})" for each in one.candidates),
            shown_amount(one.amount_minor, one.currency),
        ]
        for one in waiting
    ]
    return (
        f"{_HEAD}<h1>Bank transfers</h1><p>As of {now:%Y-%m-%d %H:%M} UTC.</p>"
        f"{_table(('What', 'How many', 'Amount'), rows)}<h2>For a person</h2>"
        f"{_table(('Id', 'Booked', 'Payer', 'Says', 'Why', 'Candidates', 'Amount'), listed)}"
        "</body></html>\n"
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    if not rows:
        return "<p>Nothing.</p>"
    names = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join(f"<tr>{_cells(row)}</tr>" for row in rows)
    return f"<table><thead><tr>{names}</tr></thead><tbody>{body}</tbody></table>"


def _cells(row: Sequence[object]) -> str:
    *others, amount = [escape(str(cell)) for cell in row]
    return "".join(f"<td>{cell}</td>" for cell in others) + f'<td class="amount">{amount}</td>'
