"""The report of bank transfers as one static page: no script, no external style, all escaped."""

import datetime as dt
from collections.abc import Iterable, Sequence
from html import escape

from billing.bank.line_ends import LineEnd
from billing.bank.review.queue import Figure, ReviewItem
from billing.printable import printable
from billing.statements.plain import shown_amount
from cli.bank.line_ends import NAMES

#: kind -> its name on the page, in the order shown
KINDS = {
    "settled": "Matched: on invoices",
    "credited": "Kept as customers' credit",
    "waiting": "Waiting for review",
    "open": "Not matched yet",
    "frozen": "Frozen: perhaps taken back",
    "held": "Statements held (their sums)",
    "refused": "Files refused",
    "unapplied": "Unapplied cash of accounts",
    "duplicate": "Paid twice",
    "ignored": "No customer's money",
    "reversed": "Taken back",
    "reverses": "Returns",
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


def page(
    figures: Sequence[Figure],
    waiting: Iterable[ReviewItem],
    *,
    now: dt.datetime,
    ends: Sequence[LineEnd] = (),
) -> str:
    """Render the page. `waiting`: the transfers to list one by one; `ends`: all lines, summed."""
    lines = [
        [NAMES[end.end], end.why, end.lines, shown_amount(end.amount_minor, end.currency)]
        for end in ends
    ]
    rows = [
        [KINDS[kind], figure.count, shown_amount(figure.amount_minor, figure.currency)]
        for kind in KINDS
        for figure in figures
        if figure.kind == kind
    ]
    listed = []
    for item in waiting:
        why = "; ".join([item.review or "", *item.vetoes])
        candidates = "; ".join(f"{best['why']} ({best['score']})" for best in item.candidates)
        amount = shown_amount(item.amount_minor, item.currency)
        payer = item.payer or ""
        listed.append([item.id, item.booking_date, payer, item.text, why, candidates, amount])
    return (
        f"{_HEAD}<h1>Bank transfers</h1><p>As of {now:%Y-%m-%d %H:%M} UTC.</p>"
        f"{_table(('Kind', 'Number', 'Amount'), rows)}<h2>Bank lines by their end</h2>"
        f"{_table(('End', 'Why', 'Lines', 'Sum'), lines)}<h2>For review</h2>"
        f"{_table(('Id', 'Booked', 'Payer', 'Text', 'Why', 'Candidates', 'Amount'), listed)}"
        "</body></html>\n"
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    if not rows:
        return "<p>Nothing.</p>"
    names = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join(f"<tr>{_cells(row)}</tr>" for row in rows)
    return f"<table><thead><tr>{names}</tr></thead><tbody>{body}</tbody></table>"


def _cells(row: Sequence[object]) -> str:
    *others, amount = [escape(printable(str(cell))) for cell in row]
    return "".join(f"<td>{cell}</td>" for cell in others) + f'<td class="amount">{amount}</td>'
