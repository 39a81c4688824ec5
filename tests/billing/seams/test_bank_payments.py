"""Payments by transfer beside holds, credit cycles, grants and a card."""

from tests.billing.bank.story import line


def test_a_transfer_leaves_a_hold_on_trial_credits_and_gives_its_month(trial):
    invoice = trial.announce("acme")
    trial.holds(200, "work")
    trial.transfers(invoice)
    assert trial.left() == [("trial", 200), ("plan", 1000)]

    trial.captures("work")

    assert trial.left() == [("plan", 1000)]
    assert trial.agrees()


def test_a_transfer_ends_the_account_s_own_month_and_its_renewals(acme):
    acme.begins_cycle()
    acme.uses(400, "work")
    acme.transfers(acme.announce("acme"))
    assert acme.left() == [("plan", 1000)]

    acme.goes_on(days=32)

    assert acme.left() == []
    assert acme.agrees()


def test_a_grant_stays_beside_a_transfer_and_burns_after_its_month(acme):
    acme.grant("acme", 100, key="sorry")
    acme.transfers(acme.announce("acme"))

    acme.uses(1050, "work")

    assert acme.left() == [("goodwill", 50)]
    assert acme.agrees()


def test_a_returned_transfer_takes_its_month_and_leaves_a_grant_and_a_hold_on_it(acme):
    acme.grant("acme", 100, key="sorry")
    acme.holds(60, "work")
    reference = acme.announce("acme").reference
    acme.receive(line("89.00", reference=reference, transaction_id="T1"))
    assert acme.left() == [("plan", 1000), ("goodwill", 100)]
    acme.receive(line("89.00", mark="DBIT", reversal=True, transaction_id="T1"))

    acme.captures("work")

    assert acme.left() == [("goodwill", 40)]
    assert acme.agrees()


def test_a_pack_by_card_stays_beside_a_transfer(acme):
    acme.buys_pack()
    acme.transfers(acme.announce("acme"))

    acme.uses(1200, "work")

    assert acme.left() == [("top_up", 300)]
    assert acme.invoices("acme") == [("paid", 8900, 8900)]
    assert acme.agrees()
