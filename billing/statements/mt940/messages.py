"""The statements of MT940 and MT942 messages, from one field at a time."""

from billing.currencies import NO_CURRENCY
from billing.statements.canonical import Account, Family, HoldReason
from billing.statements.draft import Budget, Draft
from billing.statements.errors import BadLine, NoStatements, RepeatedField, StatementRefused
from billing.statements.mt940.entry import entry_of
from billing.statements.mt940.fields import Line, read_balance, read_line, read_total
from billing.statements.mt940.marks import Marks
from billing.statements.mt940.purpose import read_ns, read_purpose
from billing.statements.references import plain_iban

_INTERIM = frozenset({"34F", "13", "13C", "13D", "90C", "90D"})


class MessageReader:
    """The current statement, and the entry that waits for its field 86."""

    def __init__(self, budget: Budget, name: str | None, marks: Marks) -> None:
        self._budget = budget
        self._marks = marks
        self._name = name
        self._drafts: list[Draft] = []
        self._draft: Draft | None = None
        self._entry: tuple[Line, str] | None = None
        self._purpose: list[str] = []
        self._reads_ns = False

    def is_closed(self, tag: str) -> bool:
        """Whether a lone `-` after the field `tag` ends the message.

        It does after the closing balance and after the totals.
        """
        draft = self._draft
        has_closing = draft is not None and draft.closing is not None and self._entry is None
        return has_closing or tag in {"90C", "90D", "62F", "62M", "64", "65"}

    def take(self, tag: str, lines: list[str], number: int) -> None:
        """Take one field with all its lines."""
        if not tag:
            return
        if tag in {"86", "NS"}:
            if self._entry is not None:
                self._purpose += lines
                self._reads_ns = tag == "NS"
            return
        self._finish_entry()
        position = f"line {number}"
        if tag == "20":
            self._begin(position)
        elif tag == "61":
            self._take_line(lines, position)
        else:
            self._take_field(tag, lines[0].strip(), position)

    def finish(self) -> list[Draft]:
        """The drafts of all statements; raises NoStatements if there are none."""
        self._finish_entry()
        if not self._drafts:
            raise NoStatements(format="MT940")
        return self._drafts

    def _begin(self, position: str) -> Draft:
        self._budget.spend_statement(position)
        draft = Draft(
            format="MT940",
            family=Family.STATEMENT,
            budget=self._budget,
            source=self._name,
            needs_balances=True,
        )
        self._drafts.append(draft)
        self._draft = draft
        return draft

    def _open(self, position: str) -> Draft:
        """The draft of a header field; a file may leave out :20: between two statements."""
        if self._draft is None or self._draft.closing is not None:
            return self._begin(position)
        return self._draft

    def _take_field(self, tag: str, text: str, position: str) -> None:
        if tag in {"25", "25P"}:
            self._take_account(self._open(position), text, position)
        elif tag in {"28", "28C"}:
            draft = self._open(position)
            draft.sequence, _, draft.page = (part or None for part in text.partition("/"))
        elif tag in {"60F", "60M"}:
            self._take_balance(self._open(position), tag, text, position)
        elif self._draft is None:
            raise BadLine(position, field=f":{tag}:", text="before any statement")
        elif tag in {"62F", "62M"}:
            self._take_balance(self._draft, tag, text, position)
        elif tag in _INTERIM:
            self._take_interim(self._draft, tag, text, position)

    def _take_account(self, draft: Draft, text: str, position: str) -> None:
        if draft.account != Account():
            raise RepeatedField(position, field=":25:")
        bank, slash, number = text.rpartition("/")
        iban = plain_iban(text) or plain_iban(number)
        draft.account = Account(
            iban=iban, other=None if iban else text, bank=bank if slash and iban is None else None
        )

    def _take_balance(self, draft: Draft, tag: str, text: str, position: str) -> None:
        side = "opening" if tag.startswith("60") else "closing"
        try:
            balance = read_balance(text, tag=tag, marks=self._marks, position=position)
        except StatementRefused as refusal:
            draft.hold(HoldReason.BALANCE_UNREADABLE, str(refusal), position)
            return
        if getattr(draft, side) is not None:
            draft.hold(HoldReason.BALANCE_AMBIGUOUS, f"a second {side} balance", position)
            return
        setattr(draft, side, balance)
        if side == "opening":
            draft.currency = balance.currency
            draft.from_date = balance.day
        else:
            draft.to_date = balance.day

    def _take_interim(self, draft: Draft, tag: str, text: str, position: str) -> None:
        """Take a field of an MT942: floor limit, time of creation, or totals."""
        if draft.opening is None:
            draft.format, draft.family, draft.needs_balances = "MT942", Family.REPORT, False
        if tag == "34F":
            draft.currency = draft.currency or text[:3]
        elif tag.startswith("13"):
            draft.created = text
        else:
            self._check_total(draft, tag, text, position)

    def _check_total(self, draft: Draft, tag: str, text: str, position: str) -> None:
        try:
            count, amount = read_total(text, tag=tag, marks=self._marks, position=position)
        except StatementRefused as refusal:
            draft.hold(HoldReason.CONTROL_TOTAL, str(refusal), position)
            return
        totals = draft.totals()
        is_credit = tag == "90C"
        entries = sum(total.credits if is_credit else total.debits for total in totals)
        minor = sum(total.credits_minor if is_credit else total.debits_minor for total in totals)
        draft.check(f":{tag}: number", stated=count, found=entries)
        draft.check(f":{tag}: sum", stated=amount, found=minor)

    def _take_line(self, lines: list[str], position: str) -> None:
        draft = self._draft
        if draft is None:
            raise BadLine(position, field=":61:", text="before any statement")
        if draft.closing is not None:
            draft.hold(HoldReason.BALANCE_AMBIGUOUS, "an entry after the closing balance", position)
        currency = draft.currency or NO_CURRENCY
        try:
            line = read_line(lines, currency=currency, marks=self._marks, position=position)
        except StatementRefused as refusal:
            draft.skip(refusal, position)
            return
        for day in line.impossible:
            draft.hold(HoldReason.DATE_IMPOSSIBLE, f"{day} is not a day of the calendar", position)
        self._entry, self._purpose = (line, position), []

    def _finish_entry(self) -> None:
        if self._entry is None or self._draft is None:
            return
        line, position = self._entry
        read = read_ns if self._reads_ns else read_purpose
        purpose = read(self._purpose, line.amount_minor, self._draft.currency or NO_CURRENCY)
        self._draft.add(entry_of(line, purpose, position=position, message=self._draft.format))
        self._entry, self._purpose, self._reads_ns = None, [], False
