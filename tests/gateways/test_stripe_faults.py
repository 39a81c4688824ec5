"""What the gateway makes of a Stripe that is away, busy or says no; with which patience, and in which words."""

import pickle
import traceback

import pytest

from billing.errors import Rejected, StripeAway, StripeRefused, TryLater
from gateways import stripe_http
from gateways.stripe_api import StripeGateway
from gateways.stripe_http import FIRST_PAUSE_S, MAX_PAUSE_S, TIMEOUT_S, TRIES
from tests import stripe_objects as objects
from tests.fake_stripe import KEY
from worker.settings import Settings


def refusal(stripe_api, kind=StripeRefused):
    with pytest.raises(kind) as caught:
        stripe_api.fetch("customer", "cus_1")
    return caught.value


# --- patience -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "stumble",
    [
        pytest.param(lambda fake: fake.fail(429, code="rate_limit"), id="throttled"),
        pytest.param(lambda fake: fake.fail(429, code="lock_timeout"), id="locked"),
        pytest.param(lambda fake: fake.fail(409), id="in conflict"),
        pytest.param(lambda fake: fake.fail(500), id="broken"),
        pytest.param(lambda fake: fake.fail(503), id="overloaded"),
        pytest.param(lambda fake: fake.drop(), id="hung up"),
        pytest.param(
            lambda fake: fake.fail(400, Stripe_Should_Retry="true"), id="told to try again"
        ),
    ],
)
def test_what_passes_is_tried_again(fake, stripe_api, pauses, stumble):
    fake.keep(objects.customer())
    stumble(fake)

    assert stripe_api.fetch("customer", "cus_1") == objects.customer()
    (pause,) = pauses
    assert FIRST_PAUSE_S / 2 <= pause <= FIRST_PAUSE_S


def test_the_tries_are_bounded_and_their_pauses_grow(fake, stripe_api, pauses):
    fake.fail(503, times=100)

    error = refusal(stripe_api, StripeAway)

    assert (error.facts["status"], len(fake.asked)) == (503, TRIES)
    assert [FIRST_PAUSE_S * 2**n / 2 <= pause for n, pause in enumerate(pauses)] == [True] * 3
    assert max(pauses) <= MAX_PAUSE_S


def test_the_pause_that_stripe_asks_for_is_kept(fake, stripe_api, pauses):
    fake.keep(objects.customer())
    fake.fail(429, Retry_After="3")

    assert stripe_api.fetch("customer", "cus_1")
    assert pauses == [3]


def test_a_longer_pause_than_a_worker_should_wait_is_left_to_the_queue(fake, stripe_api, pauses):
    fake.fail(429, code="rate_limit", Retry_After="60")

    error = refusal(stripe_api, StripeAway)

    assert (pauses, error.facts["retry_after_s"], error.facts["code"]) == ([], 60, "rate_limit")


def test_a_server_error_that_stripe_says_will_stay_is_not_tried_again(fake, stripe_api, pauses):
    fake.fail(500, Stripe_Should_Retry="false")

    refusal(stripe_api)

    assert pauses == []


def test_a_refusal_is_not_tried_again(fake, stripe_api, pauses):
    fake.fail(403, code="more_permissions_required")

    refusal(stripe_api)

    assert (pauses, len(fake.asked)) == ([], 1)


def test_a_list_that_breaks_off_in_the_middle_says_so(fake, stripe_api):
    fake.keep(*[objects.customer(f"cus_{n}") for n in range(150)])
    found = stripe_api.list("customer")
    next(found)
    fake.fail(503, times=TRIES)

    with pytest.raises(StripeAway):
        list(found)


def test_a_stripe_that_does_not_answer_is_given_up(fake, pauses):
    fake.stall(times=TRIES)
    hurried = StripeGateway(KEY, api_base=fake.url, sleep=pauses.append, timeout_s=0.05)

    error = refusal(hurried, StripeAway)

    assert error.facts == {"kind": "customer", "status": None, "code": "APIConnectionError"}
    assert len(pauses) == TRIES - 1


def test_a_stripe_that_is_not_there_is_away(pauses):
    nowhere = StripeGateway(KEY, api_base="http://127.0.0.1:1", sleep=pauses.append)

    assert refusal(nowhere, StripeAway).facts["status"] is None


def test_one_call_ends_before_its_task_is_told_to():
    longest = TRIES * 2 * TIMEOUT_S + (TRIES - 1) * MAX_PAUSE_S

    assert longest < Settings.model_fields["soft_time_limit_s"].default


# --- words --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "parameter_invalid_empty"),
        (401, "api_key_expired"),
        (403, "more_permissions_required"),
        (404, "url_invalid"),
    ],
)
def test_a_no_is_an_answer_with_stripes_code(fake, stripe_api, status, code):
    fake.fail(status, code=code)

    error = refusal(stripe_api)

    assert error.facts == {
        "kind": "customer",
        "status": status,
        "code": code,
        "request_id": "req_fake",
    }


def test_a_wrong_key_is_refused_without_showing_it(fake):
    wrong = StripeGateway("sk_test_secret", api_base=fake.url)

    error = refusal(wrong)

    shown = "".join(traceback.format_exception(error)) + repr(error.facts)
    assert (error.facts["status"], error.facts["code"]) == (401, "invalid_request_error")
    assert "secret" not in shown
    assert "Invalid API Key" not in shown


def test_an_object_of_the_other_mode_is_a_wrong_key_and_not_a_missing_object(fake, stripe_api):
    fake.fail(
        404,
        code="resource_missing",
        message="No such customer: 'cus_1'; a similar object exists in live mode, but a test mode"
        " key was used to make this request.",
    )

    assert refusal(stripe_api).facts["code"] == "wrong_mode"


def test_a_code_that_is_no_word_is_not_repeated(fake, stripe_api):
    fake.fail(400, code="Your card 4242 was declined")

    assert refusal(stripe_api).facts["code"] == "invalid_request_error"


@pytest.mark.parametrize("status", [200, 404, 407])
def test_an_answer_that_is_not_stripes_is_stripe_being_away(fake, stripe_api, status):
    fake.garble(status)

    assert refusal(stripe_api, StripeAway).facts == {
        "kind": "customer",
        "status": status,
        "code": "APIError",
    }


def test_the_errors_are_an_answer_and_a_not_yet_and_survive_pickling():
    for kind, base in ((StripeRefused, Rejected), (StripeAway, TryLater)):
        error = pickle.loads(pickle.dumps(kind(kind="customer", status=403)))
        assert isinstance(error, base)
        assert error.facts == {"kind": "customer", "status": 403}


@pytest.mark.parametrize(("said", "pause"), [("3", 3.0), ("", 0.0), ("soon", 0.0), ("-1", 0.0)])
def test_a_pause_is_read_in_seconds(said, pause):
    assert stripe_http.requested_pause({"Retry-After": said}) == pause
