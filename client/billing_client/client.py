"""The client of the main app and the relay: checks a message, hides its contents, sends it."""

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any

from celery import Celery

from billing_client import inbox
from billing_client.by_bank import ByBank
from billing_client.errors import InvalidField
from billing_client.fields import DEFAULT_HOLD_S, MAX_DEBITS, MAX_STRIPE_BODY
from billing_client.message import Message
from billing_client.messages import (
    Capture,
    Debit,
    DebitMany,
    DrainInbox,
    ExtendTrial,
    Grant,
    PaymentMethodChanged,
    PlaceHold,
    Release,
    RestoreTrial,
    Reverse,
    SeedAccount,
    StripeWebhook,
)

#: The message header that tells operators how long a message has waited.
SENT_AT = "billing_sent_at"
#: What Flower, events and logs show in place of a message's contents.
HIDDEN = "(hidden)"

#: Seconds between the tries, 1.5 in all; kombu by itself would begin with 2.
_TRIES = {"max_retries": 3, "interval_start": 0.0, "interval_step": 0.5, "interval_max": 1.0}
#: A sender that waits for ever on a dead broker blocks a web request.
_TIMEOUTS = {"socket_timeout": 10, "socket_connect_timeout": 5, "socket_keepalive": True}


class BillingClient(ByBank):
    """Sends typed messages to the billing worker.

    Give it the Celery app that the main app already has, if that uses the worker's broker, or the
    broker's URL. Sending waits at most a few seconds; with the broker away it raises
    `kombu.exceptions.OperationalError`, and nothing was sent.
    """

    def __init__(self, broker: str | Celery) -> None:
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
        """Queue the debit of an AI operation that is done; returns the key.

        `key` (1 to 200 characters, best `billing_client.new_key()`, kept with the work) makes
        retries harmless: the same key takes the credits once. `units`: 1 to 1,000,000 ideas, words
        or images. `metadata`: at most 2,048 bytes of JSON. Raises InvalidMessage before sending.
        """
        self.send(
            Debit(
                account_id=account_id,
                operation=operation,
                key=key,
                units=units,
                happened_at=happened_at,
                metadata=metadata,
            )
        )
        return key

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
        """Queue a grant of `amount` credits (1 to 100,000,000) as one lot; returns the key.

        `source`: plan, trial, top_up, bank_transfer or goodwill. Raises InvalidMessage.
        """
        self.send(
            Grant(
                account_id=account_id,
                amount=amount,
                source=source,
                key=key,
                expires_at=expires_at,
                priority=priority,
            )
        )
        return key

    def seed_account(self, account_id: int) -> None:
        """Queue the first credits of a new account; harmless to repeat. Raises InvalidMessage."""
        self.send(SeedAccount(account_id=account_id))

    def extend_trial(self, account_id: int, ends_at: dt.datetime) -> None:
        """Queue a later end of a running trial; harmless to repeat. Raises InvalidMessage."""
        self.send(ExtendTrial(account_id=account_id, ends_at=ends_at))

    def restore_trial(self, account_id: int, ends_at: dt.datetime) -> None:
        """Queue putting an account whose trial was over back into it. Raises InvalidMessage."""
        self.send(RestoreTrial(account_id=account_id, ends_at=ends_at))

    def payment_method_changed(self, account_id: int) -> None:
        """Queue that the account has a new card: a missing payment is worth a try at once."""
        self.send(PaymentMethodChanged(account_id=account_id))

    def debit_many(self, debits: Iterable[Debit]) -> int:
        """Queue many debits, up to 500 in a message, in the order given; returns how many.

        Each has its own key and its own outcome. Raises InvalidMessage before anything is sent.
        """
        rest = list(debits)
        messages = [
            DebitMany(tuple(rest[start : start + MAX_DEBITS]))
            for start in range(0, len(rest), MAX_DEBITS)
        ]
        for message in messages:
            self.send(message)
        return len(rest)

    def reverse(self, account_id: int, key: str, *, reason: str = "the work failed") -> None:
        """Queue giving back what the debit with this key took, to the lots it took it from.

        Harmless to repeat, and to send before the debit has arrived. Raises InvalidMessage.
        """
        self.send(Reverse(account_id=account_id, key=key, reason=reason))

    def capture(self, account_id: int, hold: str, *, units: int | None = None) -> None:
        """Queue taking what the hold with this key set aside; `units` if the work came out other.

        Finishing a hold twice changes nothing more. Raises InvalidMessage.
        """
        self.send(Capture(account_id=account_id, hold=hold, units=units))

    def release(self, account_id: int, hold: str) -> None:
        """Queue giving back what the hold with this key set aside. Raises InvalidMessage."""
        self.send(Release(account_id=account_id, hold=hold))

    def debit_in(
        self,
        connection: inbox.Connection,
        account_id: int,
        operation: str,
        *,
        key: str,
        units: int = 1,
        happened_at: dt.datetime | None = None,
        metadata: Mapping[str, object] | None = None,
    ) -> str:
        """Debit in the transaction that is open on `connection`; returns the key.

        The debit commits with the work it pays for, and is never lost, whatever becomes of Redis.
        Call `ring` after the commit to have it taken at once. Raises InvalidMessage.
        """
        debit = Debit(
            account_id=account_id,
            operation=operation,
            key=key,
            units=units,
            happened_at=happened_at,
            metadata=metadata,
        )
        inbox.leave(connection, [debit])
        return key

    def debit_many_in(self, connection: inbox.Connection, debits: Iterable[Debit]) -> int:
        """Debit many in the transaction that is open on `connection`; returns how many."""
        return inbox.leave(connection, debits)

    def place_hold(
        self,
        connection: inbox.Connection,
        account_id: int,
        operation: str,
        *,
        key: str,
        units: int = 1,
        ttl_s: int = DEFAULT_HOLD_S,
    ) -> inbox.Held:
        """Set aside what an operation will cost, and know at once whether the work may begin.

        `ttl_s`: 1 to 86,400 seconds, after which the hold gives its credits back by itself.
        Raises InvalidMessage.
        """
        message = PlaceHold(
            account_id=account_id, operation=operation, key=key, units=units, ttl_s=ttl_s
        )
        return inbox.place_hold(connection, message)

    def stripe_event(
        self, payload: bytes | str, signature: str, *, received_at: dt.datetime | None = None
    ) -> None:
        """Queue what Stripe posted: the request's raw body, and its `Stripe-Signature` header.

        Give the body as it came (at most 1 MiB): parsed and written again, its signature no longer
        fits. Bytes that are no UTF-8 are sent, too, so that the worker can say so. `received_at`:
        now, if not given. Harmless to repeat. Raises InvalidMessage before sending; on
        `OperationalError` answer 503, and Stripe posts it again.
        """
        text = payload if isinstance(payload, str) else payload.decode("utf-8", "surrogateescape")
        message = StripeWebhook(text, signature, received_at or dt.datetime.now(dt.UTC))
        if len(message.body) > MAX_STRIPE_BODY:
            raise InvalidField("payload", f"must be at most {MAX_STRIPE_BODY} bytes")
        self.send(message)

    def ring(self) -> None:
        """Tell the worker that rows wait in its inbox; call it after the commit.

        Nothing is lost if this is: the worker looks by itself every second.
        """
        self.send(DrainInbox())

    def send(self, message: Message) -> None:
        """Send any message of `billing_client.messages`."""
        self._app.send_task(
            message.TASK,
            kwargs=message.arguments(),
            queue=message.QUEUE,
            ignore_result=True,
            headers={SENT_AT: dt.datetime.now(dt.UTC).isoformat()},
            argsrepr=HIDDEN,
            kwargsrepr=HIDDEN,
        )


def sender(url: str) -> Celery:
    """A Celery app that only sends, and waits a few seconds at most."""
    app: Any = Celery("billing_client", broker=url, set_as_current=False)
    app.conf.update(
        task_serializer="json",
        broker_transport_options=_TIMEOUTS,
        broker_connection_timeout=5,
        task_publish_retry_policy=_TRIES,
    )
    only_sends: Celery = app
    return only_sends
