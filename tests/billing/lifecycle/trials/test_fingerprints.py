"""One trial for each fingerprint: a second one leaves an event, and is refused if a setting says so."""

import datetime as dt

import pytest

from billing.context import Policy
from billing.host import accounts
from billing.lifecycle.trials import fingerprints
from billing.lifecycle.trials import sweeps as trial_sweeps
from worker.database import transaction


def kinds(life):
    return [(payload["kinds"], payload["accounts"]) for _, payload in life.events("trial.repeated")]


@pytest.mark.parametrize(
    ("address", "same"),
    [
        pytest.param("jane@acme.test", "JANE@Acme.Test", id="in capitals"),
        pytest.param("jane@acme.test", " jane+trial2@acme.test", id="with a tag"),
        pytest.param("j.a.ne@gmail.com", "jane@googlemail.com", id="with Google's dots"),
        pytest.param("jane@acme.test", "jane@acme.test.", id="with the root's dot"),
    ],
)
def test_an_address_is_itself_however_it_is_decorated(address, same):
    assert fingerprints.of_email(address) == fingerprints.of_email(same)


@pytest.mark.parametrize("address", ["", "jane", "@acme.test", "jane@"])
def test_a_malformed_address_has_no_fingerprint(address):
    assert fingerprints.of_email(address) == []


def test_a_company_s_domain_is_a_fingerprint_and_a_provider_s_is_not():
    assert [each.kind for each in fingerprints.of_email("jane@acme.test")] == ["email", "domain"]
    assert [each.kind for each in fingerprints.of_email("jane@gmail.com")] == ["email"]


def test_dots_mean_something_elsewhere():
    assert fingerprints.of_email("j.ane@web.de") != fingerprints.of_email("jane@web.de")


def test_a_second_trial_of_a_company_leaves_an_event(life):
    life.try_out("acme", billing_email="jane@acme.test")
    life.try_out("acme2", billing_email="joe@acme.test")

    assert kinds(life) == [(["domain"], [life.ids["acme"]])]
    assert life.status("acme2") == "trial"


def test_two_sign_ups_in_one_sweep_are_one_and_a_second(life):
    for slug in ("acme", "acme2"):
        life.open_account(slug, status="trial", billing_email="jane@gmail.com")

    life.age(trial_sweeps.begin_missing)

    assert kinds(life) == [(["email"], [life.ids["acme"]])]


def test_a_refused_one_is_over_as_it_begins(life):
    life.policy = Policy(repeated_trials="refuse")
    life.try_out("acme", billing_email="jane@acme.test")
    life.try_out("acme2", billing_email="jane@acme.test")

    life.age()

    assert (life.status("acme"), life.status("acme2")) == ("trial", "suspended")
    assert life.reminders() == []


def test_a_repeated_trial_leaves_one_event(life):
    life.try_out("acme", billing_email="jane@acme.test")
    life.try_out("acme2", billing_email="jane@acme.test")
    show(life, "acme2", *fingerprints.of_email("jane@acme.test"))

    life.age()

    assert len(kinds(life)) == 1


# --- what a customer shows later: a card, a bank account ---


def show(life, slug, *found):
    life.act(
        lambda ctx, account_id: fingerprints.record(ctx, {account_id: found}),
        slug,
    )


CARD, IBAN = fingerprints.of_card("fp_1"), fingerprints.of_iban("DE89 3704 0044 0532 0130 00")


@pytest.mark.parametrize(
    "identity", [pytest.param(CARD, id="a card"), pytest.param(IBAN, id="an IBAN")]
)
def test_a_second_trial_with_a_fingerprint_leaves_an_event_and_is_refused(life, identity):
    life.policy = Policy(repeated_trials="refuse")
    for slug in ("acme", "acme2"):
        life.try_out(slug, billing_email=f"{slug}@gmail.com")
        show(life, slug, identity)

    life.age()

    assert kinds(life) == [([identity.kind], [life.ids["acme"]])]
    assert (life.status("acme"), life.status("acme2")) == ("trial", "suspended")


def test_one_that_was_shown_before_the_trial_had_an_end_counts_too(life):
    life.policy = Policy(repeated_trials="refuse")
    life.try_out("acme")
    life.open_account("acme2", status="trial")
    for slug in life.ids:
        show(life, slug, CARD)

    life.age()

    assert (life.status("acme"), life.status("acme2")) == ("trial", "suspended")


def test_shown_at_one_time_by_two_the_later_account_repeats(life):
    for slug in ("acme", "acme2"):
        life.try_out(slug)
        show(life, slug, CARD)

    life.age()

    assert kinds(life) == [(["card"], [life.ids["acme"]])]


def test_one_that_commits_late_is_compared_with_what_was_judged_meanwhile(life):
    for slug in ("acme", "acme2"):
        life.try_out(slug)
    life.pass_time(hours=1)
    show(life, "acme2", CARD)
    life.age()
    life.pass_time(hours=-1)
    show(life, "acme", CARD)  # begun an hour before, committed now

    life.age()

    assert kinds(life) == [(["card"], [life.ids["acme2"]])]


def test_an_account_that_buys_at_once_has_had_no_trial(life):
    life.open_account("acme", status="active")
    show(life, "acme", CARD)
    life.try_out("acme2")
    show(life, "acme2", CARD)

    life.age()

    assert kinds(life) == []


def test_a_refused_trial_is_not_prolonged_by_one_at_stripe(life):
    life.policy = Policy(repeated_trials="refuse")
    for slug in ("acme", "acme2"):
        life.try_out(slug)
        show(life, slug, CARD)
        life.subscribe(slug, until=life.now + dt.timedelta(days=60), status="trialing")

    life.age()
    life.pass_time(days=20)
    life.age()

    assert (life.status("acme"), life.status("acme2")) == ("trial", "suspended")


def test_an_account_that_paid_stays_however_many_trials_it_had(life):
    life.policy = Policy(repeated_trials="refuse")
    for slug in ("acme", "acme2"):
        life.try_out(slug)
        show(life, slug, CARD)
    life.record_payment("acme2")

    life.age()

    assert life.status("acme2") == "active"


def test_an_account_that_others_hold_is_judged_later(life):
    for slug in ("acme", "acme2"):
        life.try_out(slug)
        show(life, slug, CARD)
    with transaction() as ctx:
        accounts.lock(ctx.session, [life.ids["acme2"]])

        life.age()
        meanwhile = kinds(life)
    life.age()

    assert (len(meanwhile), len(kinds(life))) == (0, 1)
