"""The checks at the end of a camt statement: its balances and the bank's own totals."""

from billing.statements.camt.fields import account, first
from billing.statements.camt.units import Leaves
from billing.statements.canonical import Balance, Family, HoldReason, Total
from billing.statements.dates import iso_day
from billing.statements.draft import Draft
from billing.statements.errors import MoneyRefused
from billing.statements.money import currency_exponent, to_minor

# Booked balances only; available balances (OPAV, CLAV, FWAV ...) are other sums.
_OPENING = ("OPBD", "PRCD")
_CLOSING = ("CLBD",)
# The balance between two pages of one statement.
_INTERIM = "ITBD"
BALANCE_KINDS = frozenset({*_OPENING, *_CLOSING, _INTERIM})


def conclude(
    draft: Draft, header: Leaves, balances: list[Balance], summaries: list[Leaves]
) -> None:
    """Fill in the header and the balances, and check the bank's transaction summary."""
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
    """Use the interim balances of a page that does not begin or end its statement."""
    if draft.opening is None and draft.page not in {None, "1"}:
        draft.opening = interim[0]
    if draft.closing is None and first(header, "StmtPgntn/LastPgInd") in {"false", "0"}:
        draft.closing = interim[-1]


def _pick(draft: Draft, balances: list[Balance], kinds: tuple[str, ...]) -> Balance | None:
    for kind in kinds:
        of_kind = [balance for balance in balances if balance.kind == kind]
        if len({(balance.amount_minor, balance.currency) for balance in of_kind}) > 1:
            amounts = ", ".join(str(balance.amount_minor) for balance in of_kind)
            draft.hold(HoldReason.BALANCE_AMBIGUOUS, f"several balances {kind}: {amounts}")
        if of_kind:
            return of_kind[0]
    return None


def _check_summary(draft: Draft, summary: Leaves) -> None:
    """Check TxsSummry, which one file of fifty has, one of five of those with wrong figures."""
    totals = draft.totals()
    if len(totals) > 1:  # the statement is held anyway, and a sum over currencies means nothing
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
