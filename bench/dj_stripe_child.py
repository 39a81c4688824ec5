"""Run by the Python of BENCH_DJSTRIPE_PYTHON: dj-stripe takes webhooks as its view does.

Each body is verified, kept as a WebhookEventTrigger and processed, all by dj-stripe's own code. It
reads the present state of each object from Stripe, which costs it nothing here: what the event
carries is answered at once.
"""

import hashlib
import hmac
import json
import os
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import django
from django.conf import settings
from django.core.management import call_command

SCHEMA = "dj_stripe"
KEY = "sk_test_1234567890abcdefghijklmnop"


def configure() -> None:
    url = urlsplit(os.environ["DATABASE_URL"])
    settings.configure(
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": url.path[1:],
                "USER": url.username,
                "PASSWORD": url.password,
                "HOST": url.hostname,
                "PORT": url.port,
                "OPTIONS": {"options": f"-csearch_path={SCHEMA}"},
            }
        },
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "djstripe"],
        # The tables as they are today: all of their history takes minutes.
        MIGRATION_MODULES=dict.fromkeys(("contenttypes", "auth", "djstripe")),
        DJSTRIPE_FOREIGN_KEY_TO_FIELD="id",
        STRIPE_TEST_SECRET_KEY=KEY,
        STRIPE_LIVE_MODE=False,
        USE_TZ=True,
        SECRET_KEY="of the bench",
        ALLOWED_HOSTS=["*"],
    )
    django.setup()


def prepare(secret: str) -> None:
    """Make the tables and the endpoint, if they are not there."""
    from django.db import connection
    from djstripe.models import Account, APIKey, WebhookEndpoint

    with connection.cursor() as cursor:
        cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
    call_command("migrate", run_syncdb=True, verbosity=0)
    account, _ = Account.objects.get_or_create(id="acct_bench", defaults={"livemode": False})
    key, _ = APIKey.objects.get_or_create_by_api_key(KEY)
    APIKey.objects.filter(pk=key.pk).update(djstripe_owner_account=account)
    WebhookEndpoint.objects.get_or_create(
        id="we_bench",
        defaults={
            "url": "https://bench.example/stripe",
            "secret": secret,
            "djstripe_owner_account": account,
            "enabled_events": ["*"],
            "livemode": False,
        },
    )


def signed(body: str, secret: str) -> str:
    at = int(time.time())
    digest = hmac.new(secret.encode(), f"{at}.{body}".encode(), hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


def process(secret: str, file: str, number: int, processes: int) -> None:
    """Take this process's part of the accounts, each in its order, as fast as it goes."""
    from django.test import RequestFactory
    from djstripe.models import Event, WebhookEndpoint, WebhookEventTrigger

    present: dict[str, dict] = {}
    answer_at_once(present)
    endpoint = WebhookEndpoint.objects.get(id="we_bench")
    bodies = Path(file).read_text().splitlines()
    mine = [body for body in bodies if customer_number(body) % processes == number]
    for body in bodies:
        remember(json.loads(body)["data"]["object"], present)
    requests = [
        RequestFactory().post(
            "/stripe",
            body,
            content_type="application/json",
            headers={"stripe-signature": signed(body, secret)},
        )
        for body in mine
    ]
    say("ready")
    sys.stdin.readline()
    for request in requests:
        WebhookEventTrigger.from_request(request, webhook_endpoint=endpoint)
    found = Event.objects.filter(id__in=[json.loads(body)["id"] for body in mine]).count()
    say("done" if found == len(mine) else f"{found} of {len(mine)}")
    sys.stdin.readline()


def answer_at_once(present: dict[str, dict]) -> None:
    """Have the SDK find every object here, in place of a request to Stripe."""
    import stripe

    class Here(stripe.HTTPClient):
        name = "bench"

        def request(self, method, url, headers, post_data=None, **_):
            path = urlsplit(url).path
            return json.dumps(answer(path, present)), 200, {}

        def close(self):
            pass

    stripe.default_http_client, stripe.api_key = Here(), KEY


def answer(path: str, present: dict[str, dict]) -> dict:
    """The object at a path; of lists that no event carries whole, nothing."""
    name = path.rpartition("/")[2]
    if name in present:
        return present[name]
    if name.startswith("prod_"):
        return product(name)
    return {"object": "list", "data": [], "has_more": False, "url": path}


def product(object_id: str) -> dict:
    """The one thing that the events only name."""
    return {
        "id": object_id,
        "object": "product",
        "active": True,
        "created": int(time.time()),
        "livemode": False,
        "metadata": {},
        "name": object_id,
        "type": "service",
    }


def customer_number(body: str) -> int:
    """Events of one life go to one process."""
    return int(json.loads(body)["id"].split("_")[2])


def remember(obj: dict, present: dict[str, dict]) -> None:
    """What Stripe would answer for this object, and for those that it carries whole."""
    if isinstance(obj.get("id"), str):
        present[obj["id"]] = obj
    for value in obj.values():
        inner = value if isinstance(value, list) else [value]
        for each in inner:
            if isinstance(each, dict):
                remember(each, present)


def say(word: str) -> None:
    print(word, flush=True)


if __name__ == "__main__":
    configure()
    what, secret, *rest = sys.argv[1:]
    if what == "prepare":
        prepare(secret)
    else:
        process(secret, rest[0], int(rest[1]), int(rest[2]))
