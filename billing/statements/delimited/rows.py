"""The rows of a CSV statement: their entries, and the running balance that proves them."""

from datetime import date

from billing.currencies import NO_CURRENCY
from billing.statements.canonical import Account, Balance, Detail, Entry, Family, HoldReason, Status
from billing.statements.delimited.balance import RunningBalance
from billing.statements.delimited.directions import sign_of
from billing.statements.delimited.numbers import looks_like_number, read_number
from billing.statements.delimited.profiles import Profile, is_balance_row
from billing.statements.delimited.survey import Survey, day_of
from billing.statements.draft import Budget, Draft
from billing.statements.errors import BadDirection, MoneyRefused
from billing.statements.money import currency_exponent
from billing.statements.references import drop_placeholder, party_account, plain_iban


class RowReader:
    """Takes the rows after the header; makes a draft for each own account and currency."""

    def __init__(
        self,
        profile: Profile,
        columns: dict[str, int],
        survey: Survey,
        budget: Budget,
        name: str | None,
    ) -> None:
        self._profile = profile
        self._columns = columns
        self._survey = survey
        self._budget = budget
        self._name = name
        self._drafts: dict[tuple[str, str], tuple[Draft, RunningBalance]] = {}
        self._unread = 0
        self._first_unread = ""
        self._refusals: list[tuple[MoneyRefused, str]] = []
        self._row: list[str] = []

    def take(self, row: list[str], position: str) -> None:
        """Take one row.

        Raises the errors of MoneyRefused for a row with a date but an unreadable amount, unless a
        running balance shows what is missing.
        """
        self._row = row
        texts = tuple(text for name in self._profile.text if (text := self._cell((name,))))
        amounts = [text for name in self._profile.amounts if (text := self._cell((name,)))]
        if not any(cell.strip() for cell in row) or is_balance_row(" ".join(texts)):
            return
        day = self._day(self._profile.booked)
        if day is not None and amounts:
            try:
                self._add(day, texts, position)
            except MoneyRefused as refusal:
                if not looks_like_number(self._cell(self._profile.balance)):
                    raise
                self._refusals.append((refusal, position))
        elif day is not None or any(looks_like_number(text) for text in amounts):
            self._unread += 1
            self._first_unread = self._first_unread or position

    def finish(self) -> list[Draft]:
        """The drafts, with their balances if the rows prove them.

        A file without entries gives one empty draft.
        """
        drafts = [draft for draft, _ in self._drafts.values()] or [
            self._draft("", self._profile.currency or NO_CURRENCY)[0]
        ]
        for draft, balance in self._drafts.values():
            self._conclude(draft, balance)
        for draft in drafts:
            if self._survey.is_ambiguous:
                draft.hold(
                    HoldReason.DATE_AMBIGUOUS,
                    "no row shows which number is the day and which the month",
                )
            for refusal, position in self._refusals:
                draft.skip(refusal, position, needs_sums=False)
            if self._survey.sign_doubt:
                draft.hold(HoldReason.SIGN_NOT_READ, self._survey.sign_doubt)
            if self._unread:
                message = f"{self._unread} rows with a date or an amount are not entries"
                draft.hold(HoldReason.ROW_NOT_READ, message, self._first_unread)
        return drafts

    def _add(self, day: date, texts: tuple[str, ...], position: str) -> None:
        profile = self._profile
        currency = (self._cell(profile.currency_column) or profile.currency or NO_CURRENCY).upper()
        exponent = currency_exponent(currency, position)
        minor = self._amount(exponent, position)
        draft, running = self._draft(self._cell(profile.own_account), currency)
        number = self._cell(profile.counterparty_account)
        iban, other, note = party_account(number)
        detail = Detail(
            amount_minor=minor,
            currency=currency,
            end_to_end_id=drop_placeholder(self._cell(profile.end_to_end)),
            remittance=texts,
            counterparty=self._cell(profile.counterparty) or None,
            counterparty_iban=iban,
            counterparty_account=other,
            counterparty_bank=self._cell(profile.counterparty_bank) or None,
            note=note,
        )
        word = self._cell(profile.status).casefold()
        draft.add(
            Entry(
                position=position,
                amount_minor=minor,
                currency=currency,
                is_credit=minor >= 0,
                status=Status(profile.statuses.get(word, "OTHER")) if word else Status.BOOKED,
                is_reversal=False,
                booking_date=day,
                value_date=self._day(profile.value),
                bank_reference=drop_placeholder(self._cell(profile.bank_reference)),
                customer_reference=None,
                type_code=self._cell(profile.type_code) or None,
                corrects=None,
                note=None,
                details=(detail,),
            )
        )
        balance = self._cell(profile.balance)
        if balance and looks_like_number(balance):
            running.take(minor, self._number(balance, exponent, position))

    def _amount(self, exponent: int, position: str) -> int:
        profile = self._profile
        sign = -1 if profile.inverted else 1
        amount = self._cell(profile.amount)
        word = self._cell(profile.direction)
        if (
            amount
            and profile.direction
            and any(name in self._columns for name in profile.direction)
        ):
            if word.casefold() not in profile.words:
                raise BadDirection(position, text=word)
            unsigned = self._number(amount, exponent, position)
            if unsigned < 0:
                raise BadDirection(position, text=f"{amount} {word}")
            return sign * unsigned * profile.words[word.casefold()]
        if amount:
            minor = self._number(amount, exponent, position)
            if self._survey.sign_place is not None:
                minor *= self._sign_of_row(self._survey.sign_place, position)
            fee = self._cell(profile.fee)
            return sign * minor - (self._number(fee, exponent, position) if fee else 0)
        credit_cell, debit_cell = self._cell(profile.credit), self._cell(profile.debit)
        credit = self._number(credit_cell, exponent, position) if credit_cell else 0
        debit = abs(self._number(debit_cell, exponent, position)) if debit_cell else 0
        if credit < 0 or (credit and debit):
            raise BadDirection(position, text=f"credit {credit_cell}, debit {debit_cell}")
        return sign * (credit - debit)

    def _sign_of_row(self, place: int, position: str) -> int:
        word = self._row[place] if place < len(self._row) else ""
        sign = sign_of(word)
        if sign is None:
            raise BadDirection(position, text=word)
        return sign

    def _number(self, text: str, exponent: int, position: str) -> int:
        return read_number(
            text,
            exponent=exponent,
            decimal=self._survey.decimal,
            group=self._survey.group,
            position=position,
        )

    def _cell(self, names: tuple[str, ...]) -> str:
        """The first non-empty cell of the columns in this row."""
        for name in names:
            place = self._columns.get(name)
            if place is not None and place < len(self._row) and self._row[place].strip():
                return self._row[place].strip()
        return ""

    def _day(self, names: tuple[str, ...]) -> date | None:
        text = self._cell(names)
        day = day_of(text, self._survey.order) if text else None
        return day if isinstance(day, date) else None

    def _draft(self, account: str, currency: str) -> tuple[Draft, RunningBalance]:
        key = account, currency
        if key not in self._drafts:
            self._budget.spend_statement(f"account {account!a}")
            iban = plain_iban(account)
            draft = Draft(
                format="CSV",
                family=Family.STATEMENT,
                budget=self._budget,
                version=self._profile.name,
                source=self._name,
                account=Account(iban=iban, other=None if iban else account or None),
                currency=currency,
            )
            self._drafts[key] = draft, RunningBalance()
        return self._drafts[key]

    def _conclude(self, draft: Draft, balance: RunningBalance) -> None:
        draft.from_date, draft.to_date = draft.first_day, draft.last_day
        if balance.length == 0 or balance.length != draft.entry_count or draft.currency is None:
            return
        ends = balance.ends()
        if ends is None:
            message = "the running balance does not follow from the amounts"
            draft.hold(HoldReason.BALANCE_MISMATCH, message, difference_minor=balance.gap())
            return
        draft.opening = Balance("running", ends[0], draft.currency, draft.first_day)
        draft.closing = Balance("running", ends[1], draft.currency, draft.last_day)
