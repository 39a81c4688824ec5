"""This process's access to Stripe, as the settings say."""

from functools import cache

from gateways.stripe_api import StripeGateway
from worker.settings import settings


@cache
def gateway() -> StripeGateway | None:
    """The gateway to Stripe; None where no API key is configured."""
    config = settings()
    if config.stripe_api_key is None:
        return None
    return StripeGateway(config.stripe_api_key.get_secret_value(), api_base=config.stripe_api_base)
