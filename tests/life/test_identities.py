"""One trial for each identity: a second one is noticed, told, and refused where a setting says so."""

import pytest

from billing import identities, trial_sweeps
from billing.policy import Policy


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
    assert identities.of_email(address) == identities.of_email(same)


@pytest.mark.parametrize("address", ["", "jane", "@acme.test", "jane@"])
def test_what_is_no_address_is_no_identity(address):
    assert identities.of_email(address) == []


def test_a_company_s_domain_is_an_identity_and_a_provider_s_is_not():
    assert [each.kind for each in identities.of_email("jane@acme.test")] == ["email", "domain"]
    assert [each.kind for each in identities.of_email("jane@gmail.com")] == ["email"]


def test_dots_mean_something_elsewhere():
    assert identities.of_email("j.ane@web.de") != identities.of_email("jane@web.de")


def test_a_second_trial_of_a_company_is_told(life):
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


def test_a_card_and_an_iban_are_identities_too(life):
    for slug in ("acme", "acme2"):
        life.try_out(slug, billing_email=f"{slug}@gmail.com")
        found = [identities.of_card("fp_1"), identities.of_iban("DE89 3704 0044 0532 0130 00")]

        life.act(
            lambda session, account_id, *, now, found=found: identities.register(
                session, {account_id: found}, now=now
            ),
            slug,
        )

    assert kinds(life) == [(["card", "iban"], [life.ids["acme"]])]


def test_what_was_told_is_not_told_again(life):
    life.try_out("acme", billing_email="jane@acme.test")
    life.try_out("acme2", billing_email="jane@acme.test")

    life.act(
        lambda session, account_id, *, now: identities.register(
            session, {account_id: identities.of_email("jane@acme.test")}, now=now
        ),
        "acme2",
    )

    assert len(kinds(life)) == 1
