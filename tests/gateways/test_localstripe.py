"""What the gateway reads from localstripe, which nobody here wrote, is what was put there."""

import pytest

from billing.errors import StripeRefused
from gateways.stripe_api import StripeGateway
from tests.local_stripe import KEY, if_installed, running_localstripe

pytestmark = if_installed


@pytest.fixture(scope="module")
def local():
    with running_localstripe() as local:
        yield local


@pytest.fixture
def gateway(local, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return StripeGateway(KEY, api_base=local.url)


def test_a_subscriber_and_what_they_paid_are_read(local, gateway):
    customer, subscription = local.subscriber()

    found = gateway.fetch("subscription", subscription)
    (charge,) = [c for c in gateway.list("charge") if c["customer"] == customer]

    assert (found["customer"], found["status"]) == (customer, "active")
    assert found["items"]["data"][0]["plan"]["amount"] == 8900
    assert gateway.fetch("charge", charge["id"])["amount"] == 8900
    assert gateway.fetch("customer", customer)["email"] == "owner@example.com"


def test_the_refunds_of_a_charge_come_with_it(local, gateway):
    customer, _ = local.subscriber()
    (charge,) = [c for c in gateway.list("charge") if c["customer"] == customer]
    refunds = [local.post("/v1/refunds", charge=charge["id"], amount="100") for _ in range(12)]

    found = gateway.fetch("charge", charge["id"])

    assert found["amount_refunded"] == 1200
    assert {r["id"] for r in found["refunds"]["data"]} == {r["id"] for r in refunds}


def test_a_list_goes_on_to_its_end(local, gateway):
    made = {local.post("/v1/customers", email=f"{n}@example.com")["id"] for n in range(120)}

    found = [each["id"] for each in gateway.list("customer")]

    assert made <= set(found)
    assert len(found) == len(set(found))


def test_a_wrong_key_is_refused(local):
    with pytest.raises(StripeRefused, match="401"):
        StripeGateway("wrong", api_base=local.url).fetch("customer", "cus_1")
