"""Guards on our own bank accounts, each alone: registration, switch of format, removal."""

import datetime as dt

import pytest

from billing.bank.intake import accounts as bank_accounts
from billing.bank.intake import held_statements
from billing.bank.intake.accounts import BankAccountRefused
from billing.bank.intake.held_statements import UnknownStatement
from tests.billing.bank.intake.test_format_switch import new, old, received, switch
from tests.billing.bank.story import line, statement
from worker.database import transaction

NUMBER, NEW_NUMBER = "DE09120300000000202052", "DE77120300000000202053"
FEBRUARY = [dt.date(2026, 2, day) for day in range(1, 29)]


@pytest.fixture
def moving(shop):
    """A shop whose account recognises money in MT940."""
    shop.bank.register(NUMBER, source_format="MT940")
    return shop


def test_an_account_is_registered_once_and_in_one_way(shop):
    assert shop.bank.register(NUMBER) is True
    assert shop.bank.register(f" {NUMBER[:4]} {NUMBER[4:]} ") is False
    shop.open_account("acme", status="trial")

    for otherwise in ({"source_format": "MT940"}, {"customer": shop.ids["acme"]}):
        with pytest.raises(BankAccountRefused, match=r"format camt\.053 and the customer None"):
            shop.bank.register(NUMBER, **otherwise)
    for mistake in ({"source_format": "PDF"}, {"currency": "ZZZ"}):
        with pytest.raises(BankAccountRefused):
            shop.bank.register("DE1", **mistake)


def test_a_second_switch_is_of_a_later_day(moving):
    switch(moving.bank, day=FEBRUARY[4], number=NUMBER)

    for day in (FEBRUARY[3], FEBRUARY[4]):
        with pytest.raises(BankAccountRefused, match="changes on 2026-02-05 already"):
            switch(moving.bank, to="CSV", day=day, number=NUMBER)
    switch(moving.bank, to="CSV", day=FEBRUARY[5], number=NUMBER)
    with pytest.raises(BankAccountRefused, match="is CSV already"):
        switch(moving.bank, to="CSV", day=FEBRUARY[9], number=NUMBER)


def test_a_switch_is_of_the_day_after_the_last_money_at_the_earliest(moving):
    received(moving, old(3, number=NUMBER))

    with pytest.raises(BankAccountRefused, match="first day can be 2026-02-04"):
        switch(moving.bank, day=FEBRUARY[2], number=NUMBER)
    switch(moving.bank, day=FEBRUARY[3], number=NUMBER)


def test_money_in_another_currency_hinders_neither_a_switch_nor_a_removal(moving):
    moving.bank.register(NUMBER, currency="USD")
    received(moving, new(5, iban=NUMBER).replace(b"EUR", b"USD"))
    assert moving.transfers() == [("waiting", 8900)]

    switch(moving.bank, day=FEBRUARY[1], number=NUMBER)
    with transaction() as ctx:
        bank_accounts.remove(ctx.by("test"), NUMBER, currency="EUR")
    with transaction() as ctx, pytest.raises(BankAccountRefused, match="1 transfers came"):
        bank_accounts.remove(ctx.by("test"), NUMBER, currency="USD")


def test_an_account_that_is_registered_again_has_no_switch_of_its_former_life(moving):
    switch(moving.bank, day=FEBRUARY[0], number=NUMBER)
    with transaction() as ctx:
        assert bank_accounts.remove(ctx.by("test"), NUMBER, currency="EUR") == 0
        assert bank_accounts.switches(ctx.session) == []
    moving.bank.register(NUMBER, source_format="MT940")

    assert received(moving, old(5, number=NUMBER)) == [8900]


def test_a_removal_says_how_many_lines_stay_stored(moving):
    moving.bank.receive(new(5, iban=NUMBER), new(6, iban=NUMBER).replace(b"EUR", b"USD"))

    with transaction() as ctx:
        assert bank_accounts.remove(ctx.by("test"), NUMBER, currency="EUR") == 1
    with transaction() as ctx, pytest.raises(BankAccountRefused, match="is not registered"):
        bank_accounts.remove(ctx.by("test"), NUMBER, currency="EUR")


def test_neither_number_counts_money_of_the_others_days(moving):
    switch(moving.bank, day=FEBRUARY[4], number=NUMBER, new_number=NEW_NUMBER)

    amounts = received(
        moving,
        *[old(day, f"{day},00", number=NUMBER) for day in (4, 5)],
        old(3, "3,00", number=NEW_NUMBER),
        *[new(day, f"{day}.00", iban=NEW_NUMBER) for day in (4, 5)],
    )

    assert sorted(amounts) == [400, 500]


def test_the_customer_of_a_virtual_iban_moves_to_its_new_number(shop):
    shop.open_account("acme", status="trial")
    shop.bank.register(NUMBER, source_format="MT940", customer=shop.ids["acme"])

    switch(shop.bank, number=NUMBER, new_number=NEW_NUMBER)

    with transaction() as ctx:
        customers = {row.number: row.customer_id for row in bank_accounts.registered(ctx.session)}
    assert customers[NEW_NUMBER] == shop.ids["acme"]


def test_only_lines_within_a_week_of_the_switch_are_compared_and_paired_by_amount(moving):
    switch(moving.bank, day=FEBRUARY[12], number=NUMBER)
    olds = [(5, "1,00"), (6, "2,00"), (12, "3,00"), (12, "3,00"), (13, "4,00")]
    news = [(12, "3.00"), (20, "5.00"), (21, "6.00")]
    received(
        moving,
        *[old(day, amount, text=f"{n}", number=NUMBER) for n, (day, amount) in enumerate(olds)],
        *[new(day, amount, iban=NUMBER) for day, amount in news],
        new(13, "9.00", iban=NUMBER).replace(b"EUR", b"USD"),
        new(13, "8.00", iban=NUMBER).replace(b"<Sts>BOOK", b"<Sts>PDNG"),
    )

    lone = switch(moving.bank, day=FEBRUARY[12], number=NUMBER)

    assert [(one.format, one.booking_date.day, one.amount_minor, one.counts) for one in lone] == [
        ("MT940", 6, 200, True),
        ("MT940", 12, 300, True),
        ("MT940", 13, 400, False),
        ("camt.053", 20, 500, True),
    ]


@pytest.mark.parametrize(("characters", "is_released"), [(5, False), (6, True)])
def test_six_characters_name_a_statement(bank, characters, is_released):
    bank.receive(statement(line("10.00"), closing=900))
    [row] = bank.statements()

    with transaction() as ctx:
        if is_released:
            held_statements.release(ctx.by("test"), str(row.digest)[:characters], because="x")
        else:
            with pytest.raises(UnknownStatement):
                held_statements.release(ctx.by("test"), str(row.digest)[:characters], because="x")

    assert [row.is_held for row in bank.statements()] == [not is_released]
