"""Two workers, or a reviewer and a run, at the same time: money moves once."""

import io
import random
import threading

import pytest
import sqlalchemy as sa

from billing.bank import allocate, decide, line_ends
from billing.bank.errors import PartsRefused, TransferChanged
from billing.bank.invoicing import issue
from billing.bank.matching.types import MatchingPolicy
from flows.bank import import_file as import_file_flow
from models.transfers import Transfer, TransferInvoice
from tests.billing.bank.customers import Customers
from tests.billing.bank.story import line, statement
from tests.conftest import empty_database
from worker.database import transaction

DEV = "dev@example.com"


def at_once(*acts):
    """Run these in threads that start together; what each raised, or None."""
    start, errors = threading.Barrier(len(acts)), [None] * len(acts)

    def run(place, act):
        start.wait()
        try:
            act()
        except Exception as error:
            errors[place] = error

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(acts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def test_the_same_file_in_two_workers_is_imported_once(bank):
    file = statement(*[line(f"{n}.00", text=f"n {n}") for n in range(1, 30)])

    def take():
        import_file_flow.import_from(io.BytesIO(file), name="a file")

    assert at_once(take, take, take) == [None] * 3

    assert len(bank.amounts()) == 29
    assert len(bank.statements()) == 1


def test_files_that_overlap_in_two_workers_make_each_line_once(bank):
    lines = [line(f"{n}.00", bank_reference=f"B{n}", day="2026-02-01") for n in range(1, 20)]
    both = [statement(*lines[:15]), statement(*lines[5:], number=2)]

    assert at_once(*[lambda file=file: bank.receive(file) for file in both]) == [None, None]

    assert len(bank.amounts()) == 19


def test_two_runs_at_once_settle_each_transfer_once(shop):
    for number in range(8):
        shop.open_account(f"a{number}", status="trial")
        shop.announce(f"a{number}")
    with transaction() as ctx:
        references = list(ctx.session.scalars(sa.select(TransferInvoice.reference)))
    receive_only(shop, *[line("89.00", reference=one) for one in references])

    assert at_once(shop.match, shop.match, shop.match) == [None] * 3

    assert [state for state, _ in shop.transfers()] == ["settled"] * 8
    assert len(shop.decisions()) == 8
    shop.check()


def test_a_reviewers_decision_during_a_run_stands_and_the_run_makes_none(shop):
    shop.open_account("acme", status="trial")
    invoice = shop.announce("acme")
    receive_only(shop, line("89.00", reference=invoice.reference))
    with transaction() as ctx:
        line_ends.split_lines(ctx.at(shop.now))
    with transaction() as ctx:
        [(decision, version)] = decide.decide(ctx.session, policy=MatchingPolicy()).decisions

    shop.act("keep_as_credit", DEV, 1, shop.ids["acme"], reason="first", version=version)
    with transaction() as ctx:
        assert not decide.carry_out(ctx.at(shop.now), decision, version)

    assert (shop.invoices("acme"), shop.credit("acme")) == ([("open", 0, 8900)], 8900)
    shop.check()


@pytest.mark.parametrize("seed", range(3))
def test_a_reviewer_and_a_run_at_the_same_moment_decide_once(shop, seed):
    shop.open_account("acme", status="trial")
    invoice = shop.announce("acme")
    receive_only(shop, line("89.00", reference=invoice.reference))
    with transaction() as ctx:
        line_ends.split_lines(ctx.at(shop.now))

    def reviewer():
        shop.act("keep_as_credit", DEV, 1, shop.ids["acme"], reason="mine", version=1)

    errors = at_once(reviewer, shop.match)

    assert [type(one) for one in errors if one] in ([], [TransferChanged])
    assert len(shop.decisions()) == 1
    shop.check()


def test_an_invoice_that_is_void_before_its_match_is_carried_out_gets_nothing(shop):
    shop.open_account("acme", status="trial")
    invoice = shop.announce("acme")
    receive_only(shop, line("89.00", reference=invoice.reference))
    with transaction() as ctx:
        line_ends.split_lines(ctx.at(shop.now))
    with transaction() as ctx:
        [(decision, version)] = decide.decide(ctx.session, policy=MatchingPolicy()).decisions
    with transaction() as ctx:
        [row] = issue.open_invoices(ctx.session, shop.ids["acme"])
        issue.void(ctx.at(shop.now), row)

    with pytest.raises(PartsRefused), transaction() as ctx:
        decide.carry_out(ctx.at(shop.now), decision, version)

    assert shop.match() == ["D"]
    assert (shop.invoices("acme"), shop.credit("acme")) == ([("void", 0, 8900)], 8900)
    shop.check()


def test_a_crash_in_the_middle_of_a_settlement_leaves_nothing_of_it(shop, monkeypatch):
    shop.open_account("acme", status="trial")
    invoice = shop.announce("acme")
    receive_only(shop, line("89.00", reference=invoice.reference))
    monkeypatch.setattr(allocate.invoice_effects.status, "payment_received", _dies)
    with pytest.raises(KeyboardInterrupt):
        shop.match()
    assert (shop.invoices("acme"), shop.transfers()) == ([("open", 0, 8900)], [("open", 8900)])
    monkeypatch.undo()

    shop.match()

    assert (shop.status("acme"), shop.invoices("acme")) == ("active", [("paid", 8900, 8900)])
    shop.check()


@pytest.mark.parametrize(
    ("table", "change"),
    [
        pytest.param(TransferInvoice, {"settled_minor": 8901}, id="more than is due"),
        pytest.param(TransferInvoice, {"settled_minor": -1}, id="less than nothing"),
        pytest.param(Transfer, {"allocated_minor": 8901}, id="more than came"),
        pytest.param(Transfer, {"allocated_minor": 8000, "credited_minor": 901}, id="both"),
    ],
)
def test_the_database_refuses_more_than_there_is(shop, table, change):
    shop.open_account("acme", status="trial")
    shop.announce("acme")
    shop.receive(line("89.00"))

    with pytest.raises(sa.exc.IntegrityError), transaction() as ctx:
        ctx.session.execute(sa.update(table).values(**change))


def test_files_split_and_ordered_otherwise_end_in_the_same_allocations(database):
    outcomes = [_end_of(seed) for seed in range(4)]

    assert outcomes[1:] == outcomes[:-1]


def _end_of(seed):
    """What becomes of the same lines, split into files by chance, in an order by chance."""
    empty_database()
    chance, shop = random.Random(seed), Customers()
    shop.bank.register()
    shop.sell("starter", 89)
    for slug in ("a", "b", "c", "d"):
        shop.open_account(slug, status="trial")
        shop.announce(slug)
    with transaction() as ctx:
        asked = sa.select(TransferInvoice.reference).order_by(TransferInvoice.id)
        one, two, three, four = ctx.session.scalars(asked)
    lines = [
        line("89.00", reference=one, bank_reference="B1"),
        line("40.00", reference=two, bank_reference="B2"),
        line("49.00", text=f"rest {two}", bank_reference="B3"),
        line("89.00", text=f"{three} {four}", bank_reference="B4", iban=None),
        line("100.00", reference=four, bank_reference="B5", iban=None),
        line("89.00", text="thanks", bank_reference="B6"),
    ]
    chance.shuffle(lines)
    cut = chance.randrange(1, 5)
    files = [statement(*lines[:cut], number=1), statement(*lines[cut:], number=2)]
    files[1] = statement(*lines[cut:], number=2, opening=sum(x["minor"] for x in lines[:cut]))
    chance.shuffle(files)
    shop.bank.receive(*files)
    shop.match()
    with transaction() as ctx:
        rows = ctx.session.execute(sa.text(_ENDS)).all()
    return sorted(map(tuple, rows)), [shop.invoices(slug) for slug in ("a", "b", "c", "d")]


_ENDS = """
SELECT l.bank_reference, t.state, t.allocated_minor, t.credited_minor, d.rule
FROM billing.transfers AS t JOIN billing.bank_lines AS l ON l.key = t.line
JOIN billing.transfer_decisions AS d ON d.id = t.decision_id
"""


def receive_only(shop, *lines, **more):
    """Import a statement without matching it."""
    shop.bank.now = shop.now
    shop.bank.receive(statement(*lines, day=shop.now.date(), **more))


def _dies(*_, **__):
    raise KeyboardInterrupt
