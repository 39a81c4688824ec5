"""The settings, read from the environment.

A field's environment variable is its name in capitals with the prefix BILLING_, except DATABASE_URL
and REDIS_URL.
"""

from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    AliasChoices,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict
from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook

from billing.statements.currencies import exponent_of


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
        servers = {"DATABASE_URL: is not set", "REDIS_URL: is not set"}
        return not servers.isdisjoint(self.problems)


class Settings(BaseSettings):
    """The settings; names that end in `_s` are seconds."""

    model_config = SettingsConfigDict(
        env_prefix="BILLING_",
        extra="ignore",
        frozen=True,
        # Compose passes on what .env leaves out as an empty text.
        env_ignore_empty=True,
    )

    database_url: str = Field(validation_alias=AliasChoices("DATABASE_URL", "BILLING_DATABASE_URL"))
    redis_url: str = Field(validation_alias=AliasChoices("REDIS_URL", "BILLING_REDIS_URL"))
    #: Where the embedded servers, logs and beat's schedule live.
    data: Path = Path(".data")

    #: A folder whose files beat imports as bank statements; not set: none.
    statement_folder: Path | None = None
    #: What plans' prices and invoices to be paid by transfer are in (ISO 4217).
    invoice_currency: str = Field(default="USD", pattern="^[A-Z]{3}$")
    #: Transfers above this, in minor units, are never applied without a person.
    auto_limit_minor: int = Field(default=1_000_000, ge=0)
    #: Above this a second person must confirm what the first did.
    four_eyes_minor: int = Field(default=100_000, ge=0)
    #: After so many confirmations by people, a payer's transfer without a reference is applied by
    #: itself where one invoice alone is of its amount; 0: never.
    trust_payer_after: int = Field(default=0, ge=0, le=1000)

    #: Makes the seals of the ledger HMACs; keep it from those who may write to the database.
    ledger_key: SecretStr | None = None

    log_format: Literal["console", "json"] = "console"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    #: A task that runs longer is told (soft), then killed (hard).
    soft_time_limit_s: int = Field(default=240, ge=1)
    hard_time_limit_s: int = Field(default=300, ge=2)
    #: After this long without a renewal, any app's worker may take a message that we took.
    visibility_timeout_s: int = Field(default=3600, ge=10)
    #: Our workers renew what they hold; what a dead one held comes back after this long.
    lease_s: int = Field(default=20, ge=5)
    #: A worker that is told to stop gives its tasks this long.
    soft_shutdown_s: int = Field(default=20, ge=1)

    #: A task whose cause passes (database away, lock not had) is tried this often.
    max_retries: int = Field(default=8, ge=0, le=20)
    #: The longest pause between two tries; the first is one second, and each is doubled.
    max_backoff_s: int = Field(default=60, ge=1)

    #: No statement of a task may take longer, and none may wait longer for a lock.
    statement_timeout_s: int = Field(default=60, ge=1)
    lock_timeout_s: int = Field(default=10, ge=1)

    #: A migration that can't have its lock within this steps back, before the app queues behind it.
    migration_lock_timeout_s: int = Field(default=5, ge=1)

    #: The secrets of our webhook endpoints, by commas: while one is rotated, both fit.
    stripe_webhook_secrets: SecretStr | None = None
    #: Reads the current state of what an event names; a restricted key that can't write will do.
    stripe_api_key: SecretStr | None = None
    #: Whether events of live or of test mode are ours; by the key's prefix if not set, else test.
    stripe_livemode: bool | None = None
    #: Our own Stripe account, where events name it (Connect); events of another are ignored.
    stripe_account: str | None = Field(default=None, pattern=r"^acct_\w+$")
    #: How far a signature's time may be from that of its receipt; Stripe's libraries take 300.
    stripe_tolerance_s: int = Field(default=300, ge=1, le=86_400)
    #: Stripe lists events for 30 days: our rows outlive them, or gap fill would take them for new.
    stripe_retention_days: int = Field(default=90, ge=31, le=3650)
    #: Messages about Stripe's events that one task takes along at most, itself included.
    stripe_set_size: int = Field(default=100, ge=1, le=1000)
    #: Another server that speaks Stripe's language, for tests.
    stripe_api_base: str | None = Field(default=None, pattern=r"^https?://[^/\s]+$")

    #: Debits that one transaction takes at most.
    debit_set_size: int = Field(default=2000, ge=1, le=5000)
    #: `sets` reads the debit queue in sets; `stock` leaves it to Celery, one message a task.
    debit_reader: Literal["sets", "stock"] = "sets"

    #: A queue of the main app that takes events, on the worker's broker or on one of its own.
    events_queue: str | None = None
    events_broker_url: str | None = None
    #: Where events are posted, and what signs them: `whsec_…`, by commas; two while one is rotated.
    webhook_url: str | None = Field(default=None, pattern=r"^https?://")
    webhook_secrets: SecretStr | None = None

    #: How long a trial is, where the plan does not say, and how long an account stays in after it.
    trial_days: int = Field(default=14, ge=0, le=365)
    trial_grace_days: int = Field(default=3, ge=0, le=90)
    #: Whether what is left of a trial's credits ends with it.
    trial_credits_lapse: bool = True
    #: More trials than these are not suspended in one run without a person's word.
    trials_suspended_at_once: int = Field(default=100, ge=0)
    #: `refuse` ends a trial at once whose e-mail, domain, card or IBAN has had one.
    repeated_trials: Literal["allow", "refuse"] = "allow"
    #: Whether deleted accounts are closed for good once they can't be restored.
    close_deleted: bool = False

    @field_validator("database_url")
    @classmethod
    def _psycopg2(cls, url: str) -> str:
        """Choose psycopg2: SQLAlchemy reads a bare postgresql:// as psycopg 3."""
        for prefix in ("postgres://", "postgresql://"):
            if url.startswith(prefix):
                return "postgresql+psycopg2://" + url.removeprefix(prefix)
        return url

    @field_validator("invoice_currency")
    @classmethod
    def _is_currency(cls, code: str) -> str:
        if exponent_of(code) is None:
            raise ValueError(f"{code} is not a currency of ISO 4217")
        return code

    @property
    def signing_secrets(self) -> tuple[str, ...]:
        """The secrets that sign our webhooks."""
        return _by_commas(self.webhook_secrets)

    @model_validator(mode="after")
    def _webhooks_are_signed(self) -> "Settings":
        """Check that there is a secret for webhooks, and that the library can read each one."""
        if self.webhook_url and not self.signing_secrets:
            raise ValueError("BILLING_WEBHOOK_SECRETS must be set if BILLING_WEBHOOK_URL is")
        for secret in self.signing_secrets:
            try:
                Webhook(secret)
            except (ValueError, EmptyWebhookSecretError):
                raise ValueError("BILLING_WEBHOOK_SECRETS must be whsec_ and base64") from None
        return self

    @model_validator(mode="after")
    def _times_fit(self) -> "Settings":
        """The limits hold each other: see CELERY's visibility timeout in docs/runbook.md."""
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
                    f" BILLING_{longer.upper()} ({getattr(self, longer)})"
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
                f"BILLING_STRIPE_API_KEY is a {mode} key; BILLING_STRIPE_LIVEMODE must agree"
            )
        if is_live and (self.stripe_api_base or "").startswith("http:"):
            raise ValueError("BILLING_STRIPE_API_BASE must be https for a live key")
        return self

    @property
    def stripe_secrets(self) -> tuple[str, ...]:
        """The secrets of our webhook endpoints."""
        return _by_commas(self.stripe_webhook_secrets)

    @property
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
        problems = [_in_words(details) for details in error.errors()]
    raise BadSettings(*problems)


def _in_words(details: Any) -> str:
    if not details["loc"]:
        return str(details["ctx"]["error"])
    name = str(details["loc"][0])
    variable = name if name.isupper() else f"BILLING_{name.upper()}"
    return f"{variable}: {'is not set' if details['type'] == 'missing' else details['msg']}"
