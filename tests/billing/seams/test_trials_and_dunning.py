"""A trial's end and dunning beside debits, holds and reversals."""

import pytest


@pytest.fixture(params=["is over", "is paid by card", "is paid by transfer", "is cancelled"])
def ends(request, trial):
    """Each end of a trial; it leaves these lots."""

    def end():
        match request.param:
            case "is over":
                trial.goes_on(hours=12)
                return []
            case "is paid by card":
                trial.subscribes()
                return [("plan", 1000)]
            case "is paid by transfer":
                trial.transfers(trial.announce("acme"))
                return [("plan", 1000)]
        trial.change_status("acme", "cancelled", reason="requested")
        return []

    return end


@pytest.mark.parametrize("credits", [200, 1000], ids=["some of them", "all of them"])
def test_trial_credits_that_a_reversal_gives_back_end_with_the_trial(trial, ends, credits):
    trial.goes_on(days=16, hours=18)
    trial.uses(credits, "work")
    left = ends()

    trial.reverses("work")

    assert trial.left() == left
    assert trial.agrees()


@pytest.mark.parametrize("credits", [200, 1000], ids=["some of them", "all of them"])
@pytest.mark.parametrize("how", ["is released", "expires"])
def test_trial_credits_that_a_hold_gives_back_end_with_the_trial(trial, ends, credits, how):
    trial.goes_on(days=16, hours=18)
    trial.holds(credits, "work")
    left = ends()

    if how == "is released":
        trial.releases("work")
    else:
        trial.goes_on(days=1)

    assert trial.left() == left
    assert trial.agrees()


def test_a_hold_on_trial_credits_is_captured_after_the_trial(trial, ends):
    trial.goes_on(days=16, hours=18)
    trial.holds(200, "work")
    left = ends()

    assert trial.captures("work", 150) == "taken"

    assert trial.left() == left
    assert trial.agrees()


def test_a_reversal_within_the_trial_gives_its_credits_back(trial):
    trial.uses(200, "work")

    trial.reverses("work")

    assert trial.left() == [("trial", 1000)]


def test_trial_credits_granted_after_the_trial_outlive_a_reversal(trial):
    trial.uses(200, "work")
    trial.subscribes()
    trial.pass_time(minutes=1)
    trial.grant("acme", 50, "trial", key="a second chance")

    trial.reverses("work")

    assert trial.left() == [("trial", 50), ("plan", 1000)]


def test_a_hold_that_was_open_when_dunning_suspended_is_captured(acme):
    acme.subscribes()
    acme.buys_pack()
    acme.goes_on(days=31)
    acme.card_fails()
    acme.goes_on(days=13, hours=12)
    acme.holds(100, "work")

    acme.goes_on(hours=18)

    assert acme.stripe.status("acme") == "suspended payment_failed"
    assert acme.captures("work", 60) == "taken"
    assert acme.left() == [("top_up", 440)]
    assert acme.agrees()
