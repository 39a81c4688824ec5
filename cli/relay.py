"""`billing relay`: the web server for Stripe's webhooks."""

import signal

import click

from web.relay import HEALTH_PATH, PATH, Relay
from worker import logs
from worker.settings import settings

#: The port of Stripe's own examples.
PORT = 4242


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=PORT,
    show_default=True,
    help="The port to listen on. 0 takes a free one.",
)
@click.option("--path", default=PATH, show_default=True, help="The path to which Stripe posts.")
def relay(host: str, port: int, path: str) -> None:
    """Receive Stripe's webhooks and hand them to the worker, until Ctrl-C.

    To try it, run `stripe listen --forward-to 127.0.0.1:4242/stripe/webhook` and set
    BILLING_STRIPE_WEBHOOK_SECRETS to the secret that it prints.
    """
    from web.server import Limits, create

    if not path.startswith("/") or path == HEALTH_PATH:
        raise click.UsageError(f"--path must begin with / and must not be {HEALTH_PATH}.")
    if not settings().stripe_secrets:
        raise click.ClickException("Set BILLING_STRIPE_WEBHOOK_SECRETS to verify webhooks.")
    logs.configure()
    # SIGINT too: a shell ignores it for its background jobs, but one sent to us is meant for us.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    config = settings()
    limits = Limits(
        config.relay_connections, config.relay_connections_per_address, config.trusted_proxies
    )
    servers = create(Relay(path), host=host, port=port, limits=limits)
    for server in servers:
        server.print_listen("Serving on http://{}:{}")
    # Stripe posts a request again if a stop interrupts it.
    servers[0].run()


def _stop(_number: int, _frame: object) -> None:
    raise SystemExit(0)
