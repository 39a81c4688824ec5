"""localstripe, somebody else's fake of Stripe, in a process of its own on 127.0.0.1: a second opinion.

It is GPL, so no dependency: the Python of an environment that has it is named in
TEST_LOCALSTRIPE_PYTHON (CONTRIBUTING.md), else its tests are skipped. It speaks an API of 2017; what
it does not know (expanded payments, prices, codes of errors) is not asked of it.
"""

import os
import socket
import subprocess
import time
from contextlib import contextmanager

import pytest
import requests

PYTHON = os.environ.get("TEST_LOCALSTRIPE_PYTHON")
#: Its own command listens on every address.
ON_LOOPBACK = """
import sys
from aiohttp import web
from localstripe.server import app
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)
"""
KEY = "sk_test_12345"
STARTS_WITHIN_S = 30

if_installed = pytest.mark.skipif(PYTHON is None, reason="TEST_LOCALSTRIPE_PYTHON names no Python")


class LocalStripe:
    """The server, and how its customers come to be."""

    def __init__(self, port):
        self.url = f"http://127.0.0.1:{port}"

    def post(self, path, **fields):
        answer = requests.post(self.url + path, data=fields, auth=(KEY, ""), timeout=10)
        answer.raise_for_status()
        return answer.json()

    def send_webhooks(self, url, secret):
        """Have every event posted to the address, signed with the secret."""
        told = {"url": url, "secret": secret}
        requests.post(f"{self.url}/_config/webhooks/ours", json=told, timeout=10).raise_for_status()

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


@contextmanager
def running_localstripe():
    """The server, until the end of the block."""
    port = free_port()
    process = subprocess.Popen([PYTHON, "-c", ON_LOOPBACK, str(port)])
    try:
        deadline = time.monotonic() + STARTS_WITHIN_S
        while not listens(port):
            assert time.monotonic() < deadline, "localstripe never listened"
            time.sleep(0.05)
        yield LocalStripe(port)
    finally:
        process.kill()
        process.wait()


def free_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def listens(port):
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
