"""An account's life at the bank: another format from a day on, and a mistyped account removed."""

import datetime as dt
import json

import pytest
from click.testing import CliRunner

from billing.bank import line_ends
from billing.bank.intake import accounts as bank_accounts
from billing.bank.intake.accounts import BankAccountRefused
from cli.main import main
from tests.billing.bank.story import Bank, line, statement
from tests.billing.statements.writing import OWN_IBAN, mt940
from worker.database import transaction

DAY = dt.date(2026, 2, 2)
OLD_NUMBER = "12030000/12030000/202051"


def old(day, amount="89,00", *, text="Invoice", opening="0,00", number=OWN_IBAN, entry_date=None):
    """An MT940 of one credit on this day of February."""
    booked = entry_date or f"02{day:02d}"
    return (
        mt940(
            f":61:2602{day:02d}{booked}C{amount}NTRFNONREF",
            f":86:{text}",
            opening=f":60F:C2602{day:02d}EUR{opening}",
            closing=f":62F:C2602{day:02d}EUR{amount}",
        )
        .replace("12030000/202051", number)
        .encode()
    )


def new(day, amount="89.00", *, text="Invoice", **more):
    return statement(line(amount, text=text, iban=None), number=day, **more)


def switch(bank, *, to="camt.053", day=DAY, number=OWN_IBAN, **more):
    with transaction() as ctx:
        return bank_accounts.switch(
            ctx.at(bank.now).by("test"), number, currency="EUR", to_format=to, from_day=day, **more
        )


@pytest.fixture
def moving(shop):
    """A shop whose account recognised money in MT940 until now."""
    shop.bank.register("DE00", source_format="MT940")
    return shop


def received(shop, *files):
    shop.bank.now = shop.now
    shop.bank.receive(*files)
    shop.bank.release_all()
    shop.match()
    return [amount for _, amount in shop.transfers()]


@pytest.mark.parametrize("order", [1, -1])
def test_both_formats_of_the_days_around_the_switch_count_each_payment_once(database, shop, order):
    shop.bank.register("DE09120300000000202052", source_format="MT940")
    number = "DE09120300000000202052"
    olds = [old(day, f"{day},00", number=number) for day in (1, 2, 3)]
    news = [new(day, f"{day}.00", iban=number) for day in (1, 2, 3)]
    switch(shop.bank, number=number)

    amounts = received(shop, *[*olds, *news][::order])

    assert sorted(amounts) == [100, 200, 300]


def test_a_switch_before_money_that_was_recognised_already_is_refused_with_the_first_day(shop):
    shop.bank.register("DE09120300000000202052", source_format="MT940")
    received(shop, old(3, number="DE09120300000000202052"))

    with pytest.raises(BankAccountRefused, match="first day can be 2026-02-04"):
        switch(shop.bank, number="DE09120300000000202052")


def test_a_payment_that_both_formats_date_apart_goes_to_review_and_is_not_paid_twice(shop):
    number = "DE09120300000000202052"
    shop.bank.register(number, source_format="MT940")
    shop.open_account("acme", status="trial")
    invoice = shop.announce("acme")
    switch(shop.bank, number=number)
    received(shop, old(1, text=invoice.reference, number=number))
    assert shop.invoices("acme") == [("paid", 8900, 8900)]

    received(shop, new(2, text=invoice.reference, iban=number))

    assert shop.credit("acme") == 0
    assert "perhaps the same payment, in the other format" in shop.queue()[0].vetoes[0]


def test_a_number_that_the_new_format_writes_in_another_way_counts_each_payment_once(shop):
    iban = "DE09120300000000202052"
    shop.bank.register(OLD_NUMBER, source_format="MT940")
    switch(shop.bank, number=OLD_NUMBER, new_number=iban)

    amounts = received(
        shop,
        *[old(day, f"{day},00", number="12030000/202051") for day in (1, 2, 3)],
        *[new(day, f"{day}.00", iban=iban) for day in (1, 2, 3)],
    )

    assert sorted(amounts) == [100, 200, 300]


def test_an_invoice_names_the_new_number_alone(shop):
    shop.bank.register(OLD_NUMBER, source_format="MT940")
    switch(shop.bank, number=OLD_NUMBER, new_number="DE09120300000000202052")
    shop.open_account("acme", status="trial")

    shop.announce("acme")

    [issued] = shop.event_data("invoice.issued")
    assert "DE09120300000000202052" in str(issued)
    assert OLD_NUMBER not in str(issued)


def test_a_switch_lists_the_lines_that_only_one_format_has(shop):
    number = "DE09120300000000202052"
    shop.bank.register(number, source_format="MT940")
    switch(shop.bank, number=number)
    received(shop, old(1, number=number), new(1, iban=number), new(3, "7.00", iban=number))

    lone = switch(shop.bank, number=number)

    assert [(one.format, one.amount_minor, one.counts) for one in lone] == [("camt.053", 700, True)]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        pytest.param({"to": "MT940"}, "is MT940 already", id="to the same format"),
        pytest.param({"to": "pdf"}, "format must be one of", id="to no format"),
        pytest.param({"number": "DE99"}, "is not registered", id="of no account"),
        pytest.param({"new_number": OWN_IBAN}, "registered by itself", id="to another account"),
    ],
)
def test_a_switch_that_makes_no_sense_is_refused(moving, change, why):
    with pytest.raises(BankAccountRefused, match=why):
        switch(moving.bank, **{"number": "DE00"} | change)


def statements(*arguments):
    return CliRunner().invoke(main, ["statements", *arguments])


def switches_of(number):
    accounts = json.loads(statements("account", "--json").output)["accounts"]
    return next(one["switches"] for one in accounts if one["number"] == number)


def test_the_command_switches_and_a_dry_run_does_not(moving):
    arguments = ["switch", "DE00", "--currency", "EUR", "--format", "camt.053"]
    arguments += ["--from", "2026-02-02", "--json"]

    assert json.loads(statements(*arguments, "--dry-run").output)["dry_run"] is True
    assert switches_of("DE00") == []
    assert json.loads(statements(*arguments).output)["lone_lines"] == []

    [switched] = switches_of("DE00")
    assert (switched["format"], switched["from_day"]) == ("camt.053", "2026-02-02")
    assert "from 2026-02-02 camt.053" in statements("account").output


def test_a_mistyped_account_is_removed_after_a_dry_run(database):
    Bank().register("DE77", source_format="MT940")
    arguments = ["remove-account", "DE77", "--currency", "EUR"]

    assert statements(*arguments, "--dry-run").exit_code == 0
    assert len(json.loads(statements("account", "--json").output)["accounts"]) == 1
    assert statements(*arguments).exit_code == 0

    assert json.loads(statements("account", "--json").output)["accounts"] == []


def test_an_account_registered_in_the_wrong_format_is_removed_and_registered_again(database):
    bank = Bank()
    bank.register(source_format="MT940")
    bank.receive(statement(line("10.00")))
    CliRunner().invoke(main, ["transfers", "run"])

    assert statements("remove-account", OWN_IBAN, "--currency", "EUR").exit_code == 0
    assert bank.holds() == [["account_unknown"]]
    bank.register()
    CliRunner().invoke(main, ["transfers", "run"])

    with transaction() as ctx:
        assert [one.end for one in line_ends.ends(ctx.session)] == ["transfer"]


def test_an_account_that_received_transfers_is_not_removed(shop):
    shop.receive(line("10.00", text="hello"))

    result = statements("remove-account", OWN_IBAN, "--currency", "EUR")

    assert result.exit_code == 1
    assert "1 transfers came to it" in result.output
