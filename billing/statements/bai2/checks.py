"""The control totals of BAI2. Banks publish wrong ones, which hold the statement."""

from itertools import chain
from typing import Any

from billing.statements.canonical import Check
from billing.statements.draft import Draft


def check_account(draft: Draft, account: Any) -> None:
    """Check record 49: the sum of the amounts in records 03 and 16, and the number of records."""
    summed = sum(item.amount or 0 for item in chain(account.header.summary_items, account.children))
    draft.check("49 control total", stated=account.trailer.account_control_total, found=summed)
    _check_records(draft, "49 records", account)


def _records(section: Any) -> int:
    """Count the physical records of an account, group or file.

    The library counts them too, but its `rows` of a section grow with each access.
    """
    if not hasattr(section, "trailer"):
        return len(section.rows)
    own = len(section.header.rows) + len(section.trailer.rows)
    return own + sum(_records(child) for child in section.children)


def check_sums(
    drafts: list[Draft], record: str, section: Any, stated_sum: int, stated_children: int | None
) -> None:
    """Check the totals of a group (98) or the file (99) over its accounts or groups.

    A wrong total holds all statements in it.
    """
    kind = "account" if record == "98" else "group"
    summed = sum(getattr(child.trailer, f"{kind}_control_total") for child in section.children)
    for draft in drafts:
        draft.check(f"{record} control total", stated=stated_sum, found=summed)
        draft.check(f"{record} {kind}s", stated=stated_children or 0, found=len(section.children))
        _check_records(draft, f"{record} records", section)


def _check_records(draft: Draft, name: str, section: Any) -> None:
    """Check a number of records; it holds nothing if every sum agrees.

    A record with money that is missing would break the balances, and banks count in several ways.
    """
    stated, found = section.trailer.number_of_records or 0, _records(section)
    if stated != found and _sums_agree(draft):
        draft.checks.append(Check(name, stated, found))
        draft.note(f"{name}: the bank states {stated}, the file has {found}; every sum agrees")
        return
    draft.check(name, stated=stated, found=found)


def _sums_agree(draft: Draft) -> bool:
    if draft.opening is None or draft.closing is None:
        return False
    sums = [check for check in draft.checks if not check.name.endswith("records")]
    balance = draft.opening.amount_minor + draft.booked_minor
    return balance == draft.closing.amount_minor and all(check.agrees for check in sums)
