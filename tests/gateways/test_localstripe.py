"""A second opinion on the fake: localstripe, somebody else's, in a process of its own on 127.0.0.1.

It is GPL, so no dependency: `pip install localstripe` into an environment of its own and put that on
the PATH. It speaks an API of 2017: what it does not know (expanded payments, prices, codes of errors)
is not asked of it.
"""

import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest
import requests

from billing.errors import StripeRefused
from gateways.stripe_api import StripeGateway

PROGRAM = shutil.which("localstripe")
#: Its own command listens on every address.
ON_LOOPBACK = """
import sys
from aiohttp import web
from localstripe.server import app
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)
"""
KEY = "sk_test_12345"
STARTS_WITHIN_S = 30

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(PROGRAM is None, reason="localstripe is not on the PATH"),
]


class LocalStripe:
    """The server, and how its customers come to be."""

    def __init__(self, port):
        self.url = f"http://127.0.0.1:{port}"

    def post(self, path, **fields):
        answer = requests.post(self.url + path, data=fields, auth=(KEY, ""), timeout=10)
        answer.raise_for_status()
        return answer.json()

    def subscriber(self):
        """A customer with a card, and the id of their subscription."""
        customer = self.post("/v1/customers", email="owner@example.com")["id"]
        card = {"number": "4242424242424242", "exp_month": "12", "exp_year": "2040", "cvc": "123"}
        fields = {f"card[{name}]": value for name, value in card.items()}
        method = self.post("/v1/payment_methods", type="card", **fields)["id"]
        self.post(f"/v1/payment_methods/{method}/attach", customer=customer)
        default = {"invoice_settings[default_payment_method]": method}
        self.post(f"/v1/customers/{customer}", **default)
        product = self.post("/v1/products", name="Starter", type="service")["id"]
        terms = {"amount": "8900", "currency": "usd", "interval": "month", "product": product}
        plan = self.post("/v1/plans", **terms)["id"]
        items = {"items[0][plan]": plan}
        return customer, self.post("/v1/subscriptions", customer=customer, **items)["id"]


def listens(port):
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def local():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    python = Path(PROGRAM).with_name("python")
    process = subprocess.Popen([python, "-c", ON_LOOPBACK, str(port)])
    try:
        deadline = time.monotonic() + STARTS_WITHIN_S
        while not listens(port):
            assert time.monotonic() < deadline, "localstripe never listened"
            time.sleep(0.05)
        yield LocalStripe(port)
    finally:
        process.kill()
        process.wait()


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
