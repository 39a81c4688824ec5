"""The end of a camt statement.

Which balances are its opening and closing, and whether the bank's own totals agree.
"""

from billing.statements.camt.fields import account, first
from billing.statements.camt.units import Leaves
from billing.statements.canonical import Balance, Family, HoldReason, Total
from billing.statements.dates import iso_day
from billing.statements.draft import Draft
from billing.statements.errors import MoneyRefused
from billing.statements.money import currency_exponent, to_minor

# Booked balances only: available balances (OPAV, CLAV, FWAV ...) are another sum.
_OPENING = ("OPBD", "PRCD")
_CLOSING = ("CLBD",)
# The balance between two pages of one statement.
_INTERIM = "ITBD"
BALANCE_KINDS = frozenset({*_OPENING, *_CLOSING, _INTERIM})


def conclude(
    draft: Draft, header: Leaves, balances: list[Balance], summaries: list[Leaves]
) -> None:
    """Fill in the statement's head and balances, and check the bank's transaction summary."""
    draft.account = account(header)
    draft.currency = draft.account.currency
    draft.statement_id = first(header, "Id")
    draft.sequence = first(header, "ElctrncSeqNb", "LglSeqNb")
    draft.page = first(header, "StmtPgntn/PgNb", "RptPgntn/PgNb", "NtfctnPgntn/PgNb")
    draft.created = first(header, "CreDtTm")
    draft.from_date = iso_day(first(header, "FrToDt/FrDtTm", "FrToDt/FrDt") or "")
    draft.to_date = iso_day(first(header, "FrToDt/ToDtTm", "FrToDt/ToDt") or "")
    draft.opening = _pick(draft, balances, _OPENING)
    draft.closing = _pick(draft, balances, _CLOSING)
    interim = [balance for balance in balances if balance.kind == _INTERIM]
    if draft.family is Family.STATEMENT and interim:
        _use_interim(draft, interim, header)
    for summary in summaries:
        _check_summary(draft, summary)


def _use_interim(draft: Draft, interim: list[Balance], header: Leaves) -> None:
    """A page in the middle of a statement begins and ends with an interim balance."""
    if draft.opening is None and draft.page not in {None, "1"}:
        draft.opening = interim[0]
    if draft.closing is None and first(header, "StmtPgntn/LastPgInd") in {"false", "0"}:
        draft.closing = interim[-1]


def _pick(draft: Draft, balances: list[Balance], kinds: tuple[str, ...]) -> Balance | None:
    for kind in kinds:
        found = [balance for balance in balances if balance.kind == kind]
        if len({(balance.amount_minor, balance.currency) for balance in found}) > 1:
            amounts = ", ".join(str(balance.amount_minor) for balance in found)
            draft.hold(HoldReason.BALANCE_AMBIGUOUS, f"several balances {kind}: {amounts}")
        if found:
            return found[0]
    return None


def _check_summary(draft: Draft, summary: Leaves) -> None:
    """TxsSummry, present in one file of fifty and wrong in one of five of those.

    A difference holds.
    """
    totals = draft.totals()
    if (
        len(totals) > 1
    ):  # a sum over several currencies means nothing, and such a statement is held anyway
        return
    total = totals[0] if totals else Total(draft.currency or "EUR", 0, 0, 0, 0)
    exponent = currency_exponent(total.currency, "TxsSummry")
    for group, count, amount in (
        ("TtlNtries", total.credits + total.debits, total.credits_minor + total.debits_minor),
        ("TtlCdtNtries", total.credits, total.credits_minor),
        ("TtlDbtNtries", total.debits, total.debits_minor),
    ):
        stated_count, stated_sum = (
            first(summary, f"{group}/NbOfNtries"),
            first(summary, f"{group}/Sum"),
        )
        try:
            if stated_count:
                stated = to_minor(stated_count, exponent=0, position="TxsSummry")
                draft.check(f"{group}/NbOfNtries", stated=stated, found=count)
            if stated_sum:
                stated = to_minor(stated_sum, exponent=exponent, position="TxsSummry")
                draft.check(f"{group}/Sum", stated=stated, found=amount)
        except MoneyRefused as refusal:
            draft.hold(HoldReason.CONTROL_TOTAL, str(refusal))
