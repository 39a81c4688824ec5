"""dj-stripe processing webhooks as its view does; run by the Python of BENCH_DJSTRIPE_PYTHON.

dj-stripe's own code verifies each body, stores it as a WebhookEventTrigger and processes it. Its
requests for the current state of an object cost nothing here: they get the object of the event.
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
        # The current tables only: running all of their migrations takes minutes.
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
    """Make the tables and the endpoint unless they exist."""
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
    """Process this process's part of the accounts, each in order, as fast as possible."""
    from django.test import RequestFactory
    from djstripe.models import Event, WebhookEndpoint, WebhookEventTrigger

    present: dict[str, dict] = {}
    answer_at_once(present)
    endpoint = WebhookEndpoint.objects.get(id="we_bench")
    bodies = Path(file).read_text().splitlines()
    own_bodies = [body for body in bodies if customer_number(body) % processes == number]
    for body in bodies:
        remember(json.loads(body)["data"]["object"], present)
    requests = [
        RequestFactory().post(
            "/stripe",
            body,
            content_type="application/json",
            headers={"stripe-signature": signed(body, secret)},
        )
        for body in own_bodies
    ]
    say("ready")
    sys.stdin.readline()
    for request in requests:
        WebhookEventTrigger.from_request(request, webhook_endpoint=endpoint)
    event_ids = [json.loads(body)["id"] for body in own_bodies]
    stored = Event.objects.filter(id__in=event_ids).count()
    say("done" if stored == len(own_bodies) else f"{stored} of {len(own_bodies)}")
    sys.stdin.readline()


def answer_at_once(present: dict[str, dict]) -> None:
    """Answer the SDK's requests from memory instead of Stripe."""
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
    """Return the object at a path; an empty list for lists that no event has whole."""
    name = path.rpartition("/")[2]
    if name in present:
        return present[name]
    if name.startswith("prod_"):
        return product(name)
    return {"object": "list", "data": [], "has_more": False, "url": path}


def product(object_id: str) -> dict:
    """Return a product, which the events only name."""
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
    """Return the number by which one account's events go to one process."""
    return int(json.loads(body)["id"].split("_")[2])


def remember(obj: dict, present: dict[str, dict]) -> None:
    """Store this object, and those inside it, as Stripe's answers."""
    if isinstance(obj.get("id"), str):
        present[obj["id"]] = obj
    for value in obj.values():
        for inner in value if isinstance(value, list) else [value]:
            if isinstance(inner, dict):
                remember(inner, present)


def say(word: str) -> None:
    print(word, flush=True)


if __name__ == "__main__":
    configure()
    what, secret, *rest = sys.argv[1:]
    if what == "prepare":
        prepare(secret)
    else:
        process(secret, rest[0], int(rest[1]), int(rest[2]))
