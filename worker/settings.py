"""The settings, read from the environment.

A field's environment variable is its name in capitals with the prefix BILLING_, except DATABASE_URL
and REDIS_URL.
"""

import os
from functools import cache, cached_property
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    AliasChoices,
    Field,
    FilePath,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict
from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook

from billing.currencies import exponent_of
from billing_client import tls
from billing_client.checkout import MIN_SECRET_CHARACTERS
from worker import server_urls


class BadSettings(SystemExit):
    """Settings that can't be used; `problems` has a sentence for each variable.

    It is a SystemExit: a program that does not catch it ends with these sentences.
    """

    def __init__(self, *problems: str) -> None:
        super().__init__("These settings can't be used:\n" + "\n".join(problems))
        self.problems = problems

    @property
    def no_servers(self) -> bool:
        """Whether DATABASE_URL or REDIS_URL is not set."""
        servers = {"DATABASE_URL is not set.", "REDIS_URL is not set."}
        return not servers.isdisjoint(self.problems)


class Settings(BaseSettings):
    """The settings; names that end in `_s` are seconds."""

    model_config = SettingsConfigDict(
        env_prefix="BILLING_",
        extra="ignore",
        frozen=True,
        # The text under a field is its meaning in docs/reference/settings.md.
        use_attribute_docstrings=True,
        # Compose passes on what .env leaves out as an empty text.
        env_ignore_empty=True,
    )

    database_url: str = Field(validation_alias=AliasChoices("DATABASE_URL", "BILLING_DATABASE_URL"))
    """Postgres 14 or newer. `postgresql://` is read as psycopg2."""
    redis_ca_file: FilePath | None = None
    """The authorities to trust for `rediss://`, in PEM. By default the system's."""
    redis_tls_verify: bool = True
    """`false` accepts the certificate of anybody for `rediss://`. Preflight warns."""
    redis_url: str = Field(validation_alias=AliasChoices("REDIS_URL", "BILLING_REDIS_URL"))
    """Redis 6.2 or newer, or Valkey. `rediss://` checks the certificate and its host name."""

    data: Path = Path(".data")
    """Folder of the embedded servers, the logs and beat's schedule."""

    log_format: Literal["console", "json"] = "console"
    """`console` for people, `json` for log collectors."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """`DEBUG`, `INFO`, `WARNING` or `ERROR`."""
    ledger_key: SecretStr | None = None
    """Secret that makes the entry hashes HMACs. Set it before the first entry and never change it;
    keep it from those who may write to the database."""
    chain_anchors: str = ""
    """Where each night keeps the heads of the hash chains outside the database: the path of a file,
    or `log`. `billing audit --anchors FILE` compares the ledger with it."""

    debit_batch_size: int = Field(
        default=2000,
        ge=1,
        le=5000,
        validation_alias=AliasChoices("BILLING_DEBIT_BATCH_SIZE", "BILLING_DEBIT_SET_SIZE"),
    )
    """The most debits in one transaction."""
    debit_reader: Literal["batches", "stock"] = "batches"
    """`batches` reads the queue of debits in batches; `stock` leaves it to Celery, one message a
    task."""

    soft_time_limit_s: int = Field(default=240, ge=1)
    """A task that runs longer gets an error."""
    hard_time_limit_s: int = Field(default=300, ge=2)
    """A task that runs longer is killed."""
    visibility_timeout_s: int = Field(default=3600, ge=10)
    """Any app's worker may take a message that was not renewed for this long. Give every app on
    the broker the same value."""
    lease_s: int = Field(default=20, ge=5)
    """The messages of a dead worker return to their queue after this long."""
    soft_shutdown_s: int = Field(default=20, ge=1)
    """A worker that is told to stop gives its tasks this long."""

    max_retries: int = Field(default=8, ge=0, le=20)
    """Retries after a transient error, such as a database that is away; then the message becomes a
    dead letter."""
    max_backoff_s: int = Field(default=60, ge=1)
    """The longest pause between two retries. The first is one second, and each is double the one
    before."""

    statement_timeout_s: int = Field(default=60, ge=1)
    """The longest that one SQL statement of a task may take."""
    lock_timeout_s: int = Field(default=10, ge=1)
    """The longest that a statement may wait for a lock."""
    migration_lock_timeout_s: int = Field(default=5, ge=1)
    """A migration that waits longer for a lock gives up, before the app queues behind it."""
    owner_role: str = Field(default="billing_owner", pattern=r"^[a-z_][a-z0-9_]{0,62}$")
    """The role without log-in that owns the schema `billing`; `billing migrate` makes it."""

    stripe_webhook_secrets: SecretStr | None = None
    """Secrets of the webhook endpoints (`whsec_…`), separated by commas. During a rotation set
    both."""
    stripe_api_key: SecretStr | None = None
    """Reads the current state of the object that an event names. A restricted key with read rights
    is enough. Without a key the event's own object is used."""
    stripe_livemode: bool | None = None
    """`true` takes live events, `false` test events. By default the API key's prefix decides;
    without a key, test."""
    stripe_account: str | None = Field(default=None, pattern=r"^acct_\w+$")
    """Our own Stripe account (`acct_…`). Events that name another are ignored."""
    stripe_tolerance_s: int = Field(default=300, ge=1, le=86_400)
    """The largest difference between a signature's time and its receipt. Stripe's libraries use
    300."""
    stripe_retention_days: int = Field(default=90, ge=31, le=3650)
    """Days for which the payload of a finished event is kept. At least 31, because Stripe lists
    events for 30 days."""
    stripe_batch_size: int = Field(
        default=100,
        ge=1,
        le=1000,
        validation_alias=AliasChoices("BILLING_STRIPE_BATCH_SIZE", "BILLING_STRIPE_SET_SIZE"),
    )
    """The most event messages that one task applies together. 1: each on its own."""
    stripe_api_base: str | None = Field(default=None, pattern=r"^https?://[^/\s]+$")
    """Another server that speaks Stripe's API, for tests."""

    relay_connections: int = Field(default=256, ge=8, le=2000)
    """The most connections to `billing relay`. Above it the one that waits longest is closed."""
    relay_connections_per_address: int = Field(default=32, ge=1, le=2000)
    """The most of them from one address; of IPv6, from one /64 network."""
    relay_trusted_proxies: str = "127.0.0.0/8,::1"
    """Addresses and networks of your proxies, separated by commas; the limit per address spares
    them."""

    checkout_secrets: SecretStr | None = None
    """Secrets of at least 16 characters that sign `billing_client.checkout_reference`, separated by
    commas. The app has the same; its first one signs. During a rotation set both."""

    statement_folder: Path | None = None
    """A folder whose files beat imports as bank statements."""
    invoice_currency: str = Field(default="USD", pattern="^[A-Z]{3}$")
    """Currency (ISO 4217) of the plans' prices and of the invoices to be paid by transfer."""
    auto_limit_minor: int = Field(default=1_000_000, ge=0)
    """A transfer above this amount, in minor units, always goes to manual review."""
    four_eyes_minor: int = Field(default=100_000, ge=0)
    """A decision about an amount above this needs a second reviewer."""
    trust_payer_after: int = Field(default=0, ge=0, le=1000)
    """After this many confirmations by reviewers, a payer's transfer without a reference pays the
    only open invoice of its amount. 0: never."""

    events_queue: str | None = None
    """A Celery queue of the main app that receives events."""
    events_broker_url: str | None = None
    """The broker of that queue, if it is not the worker's own."""
    webhook_url: str | None = Field(default=None, pattern=r"^https?://")
    """The address to which events are posted."""
    webhook_secrets: SecretStr | None = None
    """Secrets that sign the posted events: `whsec_` and base64, separated by commas. During a
    rotation set both."""

    trial_days: int = Field(default=14, ge=0, le=365)
    """The length of a trial, where the plan does not set one."""
    trial_grace_days: int = Field(default=3, ge=0, le=90)
    """Days for which an account keeps access after its trial."""
    trial_credits_lapse: bool = True
    """Whether the rest of a trial's credits expires with the trial."""
    trials_suspended_at_once: int = Field(default=100, ge=0)
    """If more trials than this are due at once, none is suspended until an operator confirms it."""
    repeated_trials: Literal["allow", "refuse"] = "allow"
    """`refuse` ends a trial at once if its e-mail address, domain, card or IBAN had one before."""
    transfer_shortfall_minor: int = Field(default=0, ge=0)
    """The most that may be missing of a bank transfer for an invoice, in minor units of its
    currency, and is accepted as a bank's fee. A plan's own limit comes first."""
    use_unapplied_cash: bool = True
    """Whether a customer's unapplied cash pays an invoice for a transfer that is due, if it covers
    it. Else a reviewer decides."""
    renewal_bridge_percent: int = Field(default=25, ge=0, le=100)
    """The part of a plan's monthly credits that a paying customer may spend at a renewal, or at the
    end of a trial at Stripe, until the new invoice is paid. 0: none."""
    renewal_bridge_hours: int = Field(default=72, ge=1, le=168)
    """Hours after a period's start in which these credits may be spent. Stripe keeps the invoice a
    draft for 1 hour, and for 72 where a webhook is not answered."""
    close_deleted: bool = False
    """Whether deleted accounts are closed for good once they can't be restored."""

    @field_validator("database_url")
    @classmethod
    def _is_postgres(cls, url: str) -> str:
        return server_urls.postgres_url(url)

    @field_validator("redis_url")
    @classmethod
    def _is_redis(cls, url: str) -> str:
        return server_urls.redis_url(url)

    @field_validator("redis_url", "events_broker_url")
    @classmethod
    def _certificate_is_checked(cls, url: str | None, info: ValidationInfo) -> str | None:
        """Write into the URL how its certificate is checked; each library reads it there."""
        verify = info.data.get("redis_tls_verify", True)
        if url is None:
            return None
        if verify and tls.is_unchecked(url):
            raise ValueError(
                "The URL turns the check of the certificate off."
                " Set BILLING_REDIS_TLS_VERIFY=false if that is meant"
            )
        ca_file = info.data.get("redis_ca_file")
        return tls.checked(url, ca_file=ca_file and str(ca_file), verify=verify)

    @field_validator("debit_reader", mode="before")
    @classmethod
    def _sets_are_batches(cls, reader: object) -> object:
        """Accept the old value."""
        return "batches" if reader == "sets" else reader

    @field_validator("invoice_currency")
    @classmethod
    def _is_currency(cls, code: str) -> str:
        if exponent_of(code) is None:
            raise ValueError(f"{code} is not a currency of ISO 4217.")
        return code

    @field_validator("relay_trusted_proxies")
    @classmethod
    def _are_networks(cls, networks: str) -> str:
        for network in filter(None, map(str.strip, networks.split(","))):
            ip_network(network, strict=False)
        return networks

    @cached_property
    def trusted_proxies(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """Return the networks of the relay's proxies."""
        texts = map(str.strip, self.relay_trusted_proxies.split(","))
        return tuple([ip_network(text, strict=False) for text in texts if text])

    @field_validator("checkout_secrets")
    @classmethod
    def _are_long(cls, secrets: SecretStr | None) -> SecretStr | None:
        short = [x for x in _by_commas(secrets) if len(x) < MIN_SECRET_CHARACTERS]
        if short:
            raise ValueError(f"Each secret must have {MIN_SECRET_CHARACTERS} characters or more.")
        return secrets

    @cached_property
    def reference_secrets(self) -> tuple[str, ...]:
        """Return the secrets that sign references of Checkout sessions."""
        return _by_commas(self.checkout_secrets)

    @property
    def signing_secrets(self) -> tuple[str, ...]:
        """Return the secrets that sign our webhooks."""
        return _by_commas(self.webhook_secrets)

    @model_validator(mode="after")
    def _webhooks_are_signed(self) -> "Settings":
        """Check that there is a secret for webhooks, and that the library can read each one."""
        if self.webhook_url and not self.signing_secrets:
            raise ValueError("BILLING_WEBHOOK_SECRETS must be set if BILLING_WEBHOOK_URL is.")
        for secret in self.signing_secrets:
            try:
                Webhook(secret)
            except (ValueError, EmptyWebhookSecretError):
                raise ValueError("BILLING_WEBHOOK_SECRETS must be whsec_ and base64.") from None
        return self

    @model_validator(mode="after")
    def _times_fit(self) -> "Settings":
        """Each limit must be less than the next: docs/operate/runbook.md says why."""
        order = (
            ("soft_time_limit_s", "hard_time_limit_s"),
            ("hard_time_limit_s", "visibility_timeout_s"),
            ("max_backoff_s", "visibility_timeout_s"),
            ("lease_s", "visibility_timeout_s"),
            ("statement_timeout_s", "soft_time_limit_s"),
            ("lock_timeout_s", "statement_timeout_s"),
        )
        for shorter, longer in order:
            if getattr(self, shorter) >= getattr(self, longer):
                raise ValueError(
                    f"BILLING_{shorter.upper()} ({getattr(self, shorter)}) must be less than"
                    f" BILLING_{longer.upper()} ({getattr(self, longer)})."
                )
        return self

    @model_validator(mode="after")
    def _stripe_fits(self) -> "Settings":
        """Check that key and events are of one mode: the other mode's key reads wrong objects."""
        key = self.stripe_api_key
        if key is None:
            return self
        is_live = "_live_" in key.get_secret_value()
        if self.stripe_livemode not in {None, is_live}:
            mode = "live" if is_live else "test"
            raise ValueError(
                f"BILLING_STRIPE_API_KEY is a {mode} key; BILLING_STRIPE_LIVEMODE must agree."
            )
        if is_live and (self.stripe_api_base or "").startswith("http:"):
            raise ValueError("BILLING_STRIPE_API_BASE must be https for a live key.")
        return self

    @cached_property
    def stripe_secrets(self) -> tuple[str, ...]:
        """Return the secrets of our webhook endpoints."""
        return _by_commas(self.stripe_webhook_secrets)

    @cached_property
    def takes_live_events(self) -> bool:
        """Whether live events are applied and test events ignored, or the other way round."""
        if self.stripe_livemode is not None:
            return self.stripe_livemode
        key = self.stripe_api_key
        return key is not None and "_live_" in key.get_secret_value()


def _by_commas(secret: SecretStr | None) -> tuple[str, ...]:
    parts = secret.get_secret_value().split(",") if secret else ()
    return tuple([part.strip() for part in parts if part.strip()])


@cache
def settings() -> Settings:
    """Read the settings of this process, once. Raises BadSettings."""
    try:
        return Settings()  # type: ignore[call-arg]
    except ValidationError as error:
        # Without `from`: pydantic's message shows the values, passwords included.
        problems = [_sentence(details) for details in error.errors()]
    raise BadSettings(*problems)


#: Old names of variables, and old values; they still work.
_DEPRECATED = {
    "BILLING_DEBIT_SET_SIZE": "BILLING_DEBIT_BATCH_SIZE",
    "BILLING_STRIPE_SET_SIZE": "BILLING_STRIPE_BATCH_SIZE",
    "BILLING_DEBIT_READER=sets": "BILLING_DEBIT_READER=batches",
}


def deprecations() -> list[str]:
    """Return a sentence for each deprecated name or value in the environment."""
    present = os.environ.keys() | {f"{name}={value}" for name, value in os.environ.items()}
    return [
        f"{old} is deprecated: use {new}." for old, new in _DEPRECATED.items() if old in present
    ]


def _sentence(details: Any) -> str:
    if not details["loc"]:
        return str(details["ctx"]["error"])
    name = str(details["loc"][0])
    variable = name if name.isupper() else f"BILLING_{name.upper()}"
    if details["type"] == "missing":
        return f"{variable} is not set."
    text = details["msg"].removeprefix("Value error, ").removesuffix(".")
    return f"{variable}: {text}."
