"""Statements in several messages: each page opens (:60M:) with the last page's closing (:62M:)."""

from itertools import groupby, pairwise

from billing.statements.canonical import HoldReason
from billing.statements.draft import Draft


def check_pages(drafts: list[Draft]) -> None:
    """Hold pages that are out of order or do not open with the previous closing balance."""
    for _, group in groupby(drafts, key=lambda draft: (draft.account, draft.sequence)):
        for before, after in pairwise(group):
            if _is_page(before) or _is_page(after):
                _check_pair(before, after)


def _is_page(draft: Draft) -> bool:
    return any(balance and balance.kind.endswith("M") for balance in (draft.opening, draft.closing))


def _check_pair(before: Draft, after: Draft) -> None:
    pages = [draft.page or "" for draft in (before, after)]
    if all(page.isdigit() for page in pages) and int(pages[0]) >= int(pages[1]):
        after.hold(HoldReason.PAGES_OUT_OF_ORDER, f"page {pages[1]} follows page {pages[0]}")
    elif (
        before.closing
        and after.opening
        and before.closing.amount_minor != after.opening.amount_minor
    ):
        difference = after.opening.amount_minor - before.closing.amount_minor
        message = f"the page opens with {difference} more than the page before it closed with"
        after.hold(HoldReason.PAGES_OUT_OF_ORDER, message, difference_minor=difference)
