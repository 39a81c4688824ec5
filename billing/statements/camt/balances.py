"""The balances of a camt statement, and the signs that some banks leave out."""

from dataclasses import dataclass, field

from billing.statements.camt import paths
from billing.statements.camt.fields import check_parts, day, direction, first, stated_amount
from billing.statements.camt.parser import Leaves, Unit
from billing.statements.canonical import Balance, Family, HoldReason
from billing.statements.draft import Draft
from billing.statements.errors import StatementRefused
from billing.statements.money import minor_of

_UNPROVEN = "CdtDbtInd is missing, and no or several signs fit the entries"
_PROVEN = "CdtDbtInd of a balance is missing: its sign is the only one that fits the entries"


@dataclass(slots=True)
class Balances:
    """The balances of one statement so far; `unsigned` are those without CdtDbtInd."""

    stated: list[Balance] = field(default_factory=list)
    unsigned: list[Balance] = field(default_factory=list)

    def take(self, unit: Unit, draft: Draft) -> None:
        """Read a booked balance; an unreadable one holds the statement."""
        leaves = unit.leaves
        kind = first(leaves, "Tp/CdOrPrtry/Cd", "Tp/Cd", "Tp/CdOrPrtry/Prtry") or ""
        if kind not in paths.BALANCE_KINDS:
            return
        check_parts(len(self.stated) + 1, unit.line)
        position = f"line {unit.line}, Bal {kind}"
        is_signed = "CdtDbtInd" in leaves
        try:
            sign = direction(leaves, position) if is_signed else 1
            amount, currency = stated_amount(leaves, "Amt", position, draft)
            minor = sign * minor_of(amount, currency, position)
        except StatementRefused as refusal:
            draft.hold(HoldReason.BALANCE_UNREADABLE, str(refusal), position)
            return
        draft.currency = draft.currency or currency
        balance = Balance(kind, minor, currency, day(leaves, "Dt/Dt", "Dt/DtTm"))
        self.stated.append(balance)
        if not is_signed and minor:  # zero needs no sign
            self.unsigned.append(balance)

    def conclude(self, draft: Draft, header: Leaves) -> None:
        """Set the opening and the closing balance of the statement."""
        draft.opening = self._pick(draft, paths.OPENING)
        draft.closing = self._pick(draft, paths.CLOSING)
        interim = [balance for balance in self.stated if balance.kind == paths.INTERIM]
        if draft.family is Family.STATEMENT and interim:
            _use_interim(draft, interim, header)
        if self._is_unsigned(draft.opening) or self._is_unsigned(draft.closing):
            self._prove_signs(draft)

    def _pick(self, draft: Draft, kinds: tuple[str, ...]) -> Balance | None:
        for kind in kinds:
            of_kind = [balance for balance in self.stated if balance.kind == kind]
            if len({(balance.amount_minor, balance.currency) for balance in of_kind}) > 1:
                amounts = ", ".join(str(balance.amount_minor) for balance in of_kind)
                draft.hold(HoldReason.BALANCE_AMBIGUOUS, f"several balances {kind}: {amounts}")
            if of_kind:
                return of_kind[0]
        return None

    def _is_unsigned(self, balance: Balance | None) -> bool:
        return any(balance is unsigned for unsigned in self.unsigned)

    def _values(self, balance: Balance | None) -> tuple[int, ...]:
        """The amounts that a balance may have: both signs if it states none."""
        if balance is None:
            return ()
        minor = balance.amount_minor
        return (minor, -minor) if self._is_unsigned(balance) else (minor,)

    def _prove_signs(self, draft: Draft) -> None:
        """Give the balances the only signs with which they agree with the booked entries."""
        fitting = [
            (opening, closing)
            for opening in self._values(draft.opening)
            for closing in self._values(draft.closing)
            if opening + draft.booked_minor == closing
        ]
        if len(fitting) == 1 and draft.opening and draft.closing and not draft.unread_count:
            [(opening, closing)] = fitting
            draft.opening = draft.opening._replace(amount_minor=opening)
            draft.closing = draft.closing._replace(amount_minor=closing)
            draft.note(_PROVEN)
            return
        draft.hold(HoldReason.BALANCE_UNREADABLE, _UNPROVEN)
        draft.opening = None if self._is_unsigned(draft.opening) else draft.opening
        draft.closing = None if self._is_unsigned(draft.closing) else draft.closing


def _use_interim(draft: Draft, interim: list[Balance], header: Leaves) -> None:
    """Use the interim balances of a page that does not begin or end its statement."""
    if draft.opening is None and draft.page not in {None, "1"}:
        draft.opening = interim[0]
    if draft.closing is None and first(header, "StmtPgntn/LastPgInd") in {"false", "0"}:
        draft.closing = interim[-1]
