"""`billing relay`: serves the relay of Stripe's webhooks until it is told to stop."""

import signal

import click

from billing_client.fields import MAX_STRIPE_BODY
from web.relay import HEALTH_PATH, PATH, Relay
from worker import logs
from worker.settings import settings

#: The one of Stripe's own examples.
PORT = 4242
#: Each waits for Postgres most of its time; one more than the database's pool has would only wait.
THREADS = 4
#: A sender that says nothing for so long is cut off.
SILENCE_S = 20
#: Connections at once: beyond it new ones wait at the door.
CONNECTIONS = 200


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", type=click.IntRange(0, 65_535), default=PORT, show_default=True)
@click.option("--path", default=PATH, show_default=True, help="Where Stripe posts to.")
def relay(host: str, port: int, path: str) -> None:
    """Take Stripe's webhooks and hand them to the worker, until Ctrl-C.

    Try it with `stripe listen --forward-to 127.0.0.1:4242/stripe/webhook`, and the secret that it
    prints in BILLING_STRIPE_WEBHOOK_SECRETS.
    """
    import waitress

    if not path.startswith("/") or path == HEALTH_PATH:
        raise click.UsageError(f"--path begins with / and is not {HEALTH_PATH}")
    if not settings().stripe_secrets:
        raise click.ClickException("set BILLING_STRIPE_WEBHOOK_SECRETS: nothing fits without it")
    logs.configure()
    signal.signal(signal.SIGTERM, _stop)
    # It logs where it listens. A request that a stop cuts off is one that Stripe posts again.
    waitress.serve(
        Relay(path),
        host=host,
        port=port,
        threads=THREADS,
        ident=None,
        channel_timeout=SILENCE_S,
        connection_limit=CONNECTIONS,
        # Refused from this on.
        max_request_body_size=MAX_STRIPE_BODY + 1,
    )


def _stop(_number: int, _frame: object) -> None:
    raise SystemExit(0)
