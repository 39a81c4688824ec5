"""The client that the main app and the relay use to talk to the billing worker."""

import datetime as dt
import json
from collections.abc import Iterable, Mapping
from typing import Any

from celery import Celery

from billing_client import tls
from billing_client.by_bank import ByBank
from billing_client.errors import InvalidField
from billing_client.fields import MAX_DEBITS, MAX_MESSAGE_BYTES, MAX_STRIPE_BODY
from billing_client.in_transaction import InTransaction
from billing_client.message import Message
from billing_client.messages import (
    AnnounceCheckout,
    Capture,
    Debit,
    DebitMany,
    DrainInbox,
    ExtendTrial,
    Grant,
    PaymentMethodChanged,
    Release,
    RestoreTrial,
    Reverse,
    SeedAccount,
    StripeWebhook,
)

#: The message header that tells operators how long a message has waited.
SENT_AT = "billing_sent_at"
#: The text that Flower, events and logs show in place of a message's contents.
HIDDEN = "(hidden)"
#: Options of every message: no result is stored, and no contents are shown.
QUIET: Any = {"ignore_result": True, "argsrepr": HIDDEN, "kwargsrepr": HIDDEN}

#: A retry for a broker that restarts; kombu's own policy would wait 2 seconds before the first.
_TRIES = {"max_retries": 1, "interval_start": 0.5}
#: Without a time-out, a broker that hangs would block a web request for ever.
_TIMEOUTS = {"socket_timeout": 2, "socket_connect_timeout": 2, "socket_keepalive": True}


class BillingClient(InTransaction, ByBank):
    """A sender of typed messages to the billing worker.

    Methods whose name ends in `_in`, and `place_hold`, write in a database transaction of the
    caller. All others send a Celery message and wait a few seconds at most. If the broker does not
    answer, they raise `kombu.exceptions.OperationalError`, and nothing was sent. The outcome is a
    row in the database; no method returns it.

    Example:
        ```python
        client = BillingClient("redis://:password@redis:6379/0")
        client.debit(29, "content_generation", units=850, key=new_key())
        ```
    """

    def __init__(self, broker: str | Celery) -> None:
        """Connect lazily: the broker is first contacted when a message is sent.

        Args:
            broker: The URL of the worker's Redis, or the main app's own Celery app if it uses the
                same broker. `rediss://` checks the certificate; `?ssl_ca_certs=FILE` names your
                own authority, and `?ssl_cert_reqs=none` turns the check off, with a warning in the
                log. A Celery app of yours must set `broker_use_ssl` itself.
        """
        self._app = broker if isinstance(broker, Celery) else sender(broker)

    def debit(
        self,
        account_id: int,
        operation: str,
        *,
        key: str,
        units: int = 1,
        happened_at: dt.datetime | None = None,
        metadata: Mapping[str, object] | None = None,
    ) -> str:
        """Queue the debit of a finished AI operation.

        Send it after the commit of the work. If the app stops in between, the debit is lost:
        prefer `debit_in` wherever the app's database is the worker's.

        Args:
            account_id: The main app's id of the account.
            operation: The name of an operation that has a price, such as `content_generation`.
            key: The idempotency key, 1 to 200 printable characters, best from `new_key()`. Store
                it with the work; every retry with the same key takes the credits once.
            units: The number of words, ideas or images the operation made, 1 to 1,000,000.
            happened_at: When the work was done, with a time zone; its price is the one valid then.
                None: when the worker applies the debit.
            metadata: A JSON object of at most 2,048 bytes, kept with the ledger entry.

        Returns:
            The key.

        Raises:
            InvalidMessage: A value is out of bounds; nothing was sent.
            kombu.exceptions.OperationalError: The broker did not answer; send it again, same key.
        """
        debit = Debit(
            account_id, operation, key=key, units=units, happened_at=happened_at, metadata=metadata
        )
        self.send(debit)
        return key

    def debit_many(self, debits: Iterable[Debit]) -> int:
        """Queue many debits, up to 500 in a message, in the order given.

        Each debit has its own key and its own outcome.

        Args:
            debits: `billing_client.Debit` messages, for any accounts.

        Returns:
            The number of debits sent.

        Raises:
            InvalidMessage: A debit is out of bounds; none was sent.
            kombu.exceptions.OperationalError: The broker did not answer; send all of them again.
        """
        batch = list(debits)
        messages = [
            DebitMany(tuple(batch[start : start + MAX_DEBITS]))
            for start in range(0, len(batch), MAX_DEBITS)
        ]
        for message in messages:
            self.send(message)
        return len(batch)

    def reverse(self, account_id: int, key: str, *, reason: str = "the work failed") -> None:
        """Queue a reversal: give a debit's credits back to the lots that they came from.

        Sending it twice has the effect of once. A reversal may arrive before its debit; that debit
        is then not taken.

        Args:
            account_id: The main app's id of the account.
            key: The key of the debit, or of the hold whose capture is to be reversed.
            reason: Why, 1 to 200 characters; kept with the ledger entry.

        Raises:
            InvalidMessage: A value is out of bounds; nothing was sent.
        """
        self.send(Reverse(account_id=account_id, key=key, reason=reason))

    def capture(self, account_id: int, hold: str, *, units: int | None = None) -> None:
        """Queue the capture of a hold: take the credits it reserved, now that the work is done.

        A hold ends once; a second capture or release changes nothing. A lost message costs
        credits: prefer `billing_client.inbox.leave` with a `Capture` in your transaction.

        Args:
            account_id: The main app's id of the account.
            hold: The key of the hold.
            units: The units that the work took, if they differ from the hold's. Fewer give the
                rest back; more are taken from free credits, then as debt where the plan allows it.

        Raises:
            InvalidMessage: A value is out of bounds; nothing was sent.
        """
        self.send(Capture(account_id=account_id, hold=hold, units=units))

    def release(self, account_id: int, hold: str) -> None:
        """Queue the release of a hold: give back all the credits it reserved.

        If this message is lost, the hold expires by itself after its time to live.

        Args:
            account_id: The main app's id of the account.
            hold: The key of the hold.

        Raises:
            InvalidMessage: A value is out of bounds; nothing was sent.
        """
        self.send(Release(account_id=account_id, hold=hold))

    def grant(
        self,
        account_id: int,
        amount: int,
        source: str,
        *,
        key: str,
        expires_at: dt.datetime | None = None,
        priority: int | None = None,
    ) -> str:
        """Queue a grant: give the account credits as one lot.

        Args:
            account_id: The main app's id of the account.
            amount: Credits, 1 to 100,000,000.
            source: `plan`, `trial`, `top_up`, `bank_transfer` or `goodwill`.
            key: The idempotency key, 1 to 200 characters; the same key grants once.
            expires_at: When unspent credits expire, with a time zone. None: never.
            priority: 0 to 1,000; a lower number is spent first. None: the source's own.

        Returns:
            The key.

        Raises:
            InvalidMessage: A value is out of bounds; nothing was sent.
        """
        grant = Grant(account_id, amount, source, key=key, expires_at=expires_at, priority=priority)
        self.send(grant)
        return key

    def seed_account(self, account_id: int) -> None:
        """Queue the signup grant of a new account: its plan's first credits. Repeats are harmless.

        Args:
            account_id: The main app's id of the account.

        Raises:
            InvalidMessage: `account_id` is out of bounds; nothing was sent.
        """
        self.send(SeedAccount(account_id=account_id))

    def extend_trial(self, account_id: int, ends_at: dt.datetime) -> None:
        """Queue a later end for a running trial. Repeats are harmless.

        Args:
            account_id: The main app's id of the account.
            ends_at: The new end, with a time zone.

        Raises:
            InvalidMessage: A value is out of bounds; nothing was sent.
        """
        self.send(ExtendTrial(account_id=account_id, ends_at=ends_at))

    def restore_trial(self, account_id: int, ends_at: dt.datetime) -> None:
        """Queue putting an account whose trial had ended back on trial. Repeats are harmless.

        Args:
            account_id: The main app's id of the account.
            ends_at: The new end, with a time zone.

        Raises:
            InvalidMessage: A value is out of bounds; nothing was sent.
        """
        self.send(RestoreTrial(account_id=account_id, ends_at=ends_at))

    def payment_method_changed(self, account_id: int) -> None:
        """Queue the news of a new card, so that a missed payment is retried at once.

        Args:
            account_id: The main app's id of the account.

        Raises:
            InvalidMessage: `account_id` is out of bounds; nothing was sent.
        """
        self.send(PaymentMethodChanged(account_id=account_id))

    def announce_checkout(self, account_id: int, session: str) -> None:
        """Queue the news that this account pays in a Checkout session that the app has created.

        It does what a signed `client_reference_id` does, for a session that names nobody.

        Args:
            account_id: The main app's id of the account.
            session: The session's id, `cs_…`.

        Raises:
            InvalidMessage: A value is out of bounds; nothing was sent.
        """
        self.send(AnnounceCheckout(account_id=account_id, session=session))

    def stripe_event(
        self, payload: bytes | str, signature: str, *, received_at: dt.datetime | None = None
    ) -> None:
        """Queue a webhook that Stripe posted. The worker verifies its signature.

        Repeats are harmless. Only a relay of your own needs this; `billing relay` calls it for you.

        Args:
            payload: The request's body as it came, at most 1 MiB. A body that was parsed and
                written again no longer fits its signature.
            signature: The value of the `Stripe-Signature` header; empty if there was none.
            received_at: When the request came. None: now.

        Raises:
            InvalidMessage: The body or the header is too large; nothing was sent. Answer 413.
            kombu.exceptions.OperationalError: The broker did not answer. Answer 503, and Stripe
                posts the event again.
        """
        # "surrogateescape" carries bytes that are not UTF-8, so that the worker can report them.
        text = payload if isinstance(payload, str) else payload.decode("utf-8", "surrogateescape")
        message = StripeWebhook(text, signature, received_at or dt.datetime.now(dt.UTC))
        if len(message.body) > MAX_STRIPE_BODY:
            raise InvalidField("payload", f"must be at most {MAX_STRIPE_BODY} bytes")
        self.send(message)

    def ring(self) -> None:
        """Tell the worker that its inbox has new rows. Call it after the commit.

        It only saves time: the worker looks by itself every second. With Django, register it by
        `transaction.on_commit(client.ring, robust=True)`, so that a broker that is away does not
        fail the request.
        """
        self._send(DrainInbox(), retry=False)

    def send(self, message: Message) -> None:
        """Send any message of `billing_client.messages`.

        Args:
            message: A message; it checked its values when it was made.

        Raises:
            InvalidMessage: The message is larger than 16 MiB; nothing was sent.
            kombu.exceptions.OperationalError: The broker did not answer; nothing was sent.
        """
        self._send(message)

    def _send(self, message: Message, **options: Any) -> None:
        arguments = message.arguments()
        # The body is base64, and has an envelope around it.
        size = len(json.dumps(arguments)) * 4 // 3 + 4096
        if size > MAX_MESSAGE_BYTES:
            problem = f"must be at most {MAX_MESSAGE_BYTES} bytes as a message, are {size}"
            raise InvalidField("arguments", problem)
        self._app.send_task(
            message.TASK,
            kwargs=arguments,
            queue=message.QUEUE,
            headers={SENT_AT: dt.datetime.now(dt.UTC).isoformat()},
            **QUIET,
            **options,
        )


def sender(url: str) -> Celery:
    """Make a Celery app that only sends, and waits a few seconds at most.

    Args:
        url: The URL of the worker's Redis. `rediss://` checks the certificate, by the authorities
            of the system or of its option `ssl_ca_certs=FILE`.
    """
    tls.warn(url)
    app: Any = Celery("billing_client", broker=tls.checked(url), set_as_current=False)
    app.conf.update(
        task_serializer="json",
        broker_transport_options=_TIMEOUTS,
        broker_connection_timeout=2,
        task_publish_retry_policy=_TRIES,
    )
    only_sends: Celery = app
    return only_sends
