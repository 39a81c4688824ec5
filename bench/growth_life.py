"""Rows of the growth bench: the life of accounts, from signup to closing, and their events."""

from collections.abc import Callable, Sequence

import sqlalchemy as sa

from bench import delivery, ground, renewals, sweeps
from bench.growth import Growth
from billing import closing
from billing.context import Context
from billing.lifecycle.dunning import sweep as dunning_sweep
from billing.lifecycle.trials import overrides as trial_overrides
from billing.lifecycle.trials import reminders as trial_reminders
from billing.lifecycle.trials import sweeps as trial_sweeps
from billing.renewal import expiry, signup_grant
from billing.renewal import renewals as renewal_acts
from flows.events import deliver_due
from gateways.webhooks import Webhooks
from worker import clock
from worker.database import engine, transaction

FIRST = 1
#: What 100 deleted accounts have left behind, and `:count` accounts that stay.
GONE = 100
_PLAN = """
INSERT INTO igny8_plans (id, slug, name, price, included_credits, max_sites, max_users)
VALUES (1, 'growth', 'Growth', 0, 1000, 1, 1)
"""
_ACCOUNTS = """
INSERT INTO igny8_tenants (id, name, slug, plan_id, status, stripe_customer_id, created_at,
                           is_deleted, deleted_at, restore_until)
SELECT n, 'n', 'growth-' || n, 1, :status, 'cus_' || n, now(), n <= :gone,
       CASE WHEN n <= :gone THEN now() - interval '30 days' END,
       CASE WHEN n <= :gone THEN now() - interval '1 day' END
FROM generate_series(1, :count) AS n
"""
#: Rows that name an account, one of each for every account.
_LEFT = (
    """INSERT INTO billing.dead_letters (message_id, queue, task, arguments, error, reason,
                                         attempts, first_at, last_at)
    SELECT 'webhook-' || n, 'stripe', 'stripe.receive', jsonb_build_object('body',
           '{"id": "evt", "data": {"object": {"customer": "cus_' || n || '"}}}'), 'Broken', 'x', 1,
           now(), now() FROM generate_series(1, :count) AS n""",
    """INSERT INTO billing.dead_letters (message_id, queue, task, arguments, error, reason,
                                         attempts, first_at, last_at)
    SELECT 'debit-' || n, 'debits', 'credits.debit', jsonb_build_object('account_id', n), 'Broken',
           'x', 1, now(), now() FROM generate_series(1, :count) AS n""",
    """INSERT INTO billing.stripe_events (event_id, digest, source, type, customer, account_id,
                                          payload, state, received_at, recorded_at, finished_at)
    SELECT 'evt_' || n, sha256(n::text::bytea), 'webhook', 'invoice.paid', 'cus_' || n,
           CASE WHEN n % 2 = 0 THEN n END, '{}', 'applied', now(), now(), now()
    FROM generate_series(1, :count) AS n""",
    """INSERT INTO billing.stripe_objects (id, kind, customer, account_id, facts, version_at, rank,
                                           digest, recorded_at)
    SELECT 'ch_' || n, 'charge', 'cus_' || n, n, '{"card": "x"}', now(), '{1}', '', now()
    FROM generate_series(1, :count) AS n""",
    """INSERT INTO billing.stripe_owners (object_id, account_id, actor, recorded_at)
    SELECT 'cus_old' || n, n, 'main_app', now() FROM generate_series(1, :count) AS n""",
    """INSERT INTO igny8_subscriptions (tenant_id, status, stripe_subscription_id,
                                        current_period_start, current_period_end)
    SELECT n, 'canceled', 'sub_' || n, now(), now() FROM generate_series(1, :count) AS n""",
    """INSERT INTO billing.trial_identities (kind, digest, account_id, recorded_at)
    SELECT 'card', sha256(n::text::bytea), n, now() FROM generate_series(1, :count) AS n""",
    """INSERT INTO billing.trials (account_id, started_at, ends_at, suspends_at, recorded_at)
    SELECT n, now(), now() + interval '9 days', now() + interval '9 days', now()
    FROM generate_series(1, :count) AS n""",
    """INSERT INTO billing.dunning_cases (account_id, schedule, cause, opened_at, starts_at, due_at)
    SELECT n, 'card', 'card_failed', now(), now(), now() + interval '9 days'
    FROM generate_series(1, :count) AS n""",
    """INSERT INTO billing.customer_names (account_id, words)
    SELECT n, ARRAY['name' || n] FROM generate_series(1, :count) AS n""",
    """INSERT INTO billing.payers (iban, account_id, confirmed, matched, declined)
    SELECT 'DE' || n, n, 0, 1, 0 FROM generate_series(1, :count) AS n""",
    """INSERT INTO billing.bank_lines (key, account, format, currency, amount_minor, status,
                                       booking_date, bank_reference, is_split)
    SELECT md5(n || format)::uuid, 'DE02', format, 'EUR', 8900, 'BOOK', current_date - n % 900,
           'REF' || n, true
    FROM generate_series(1, :count) AS n, unnest(ARRAY['camt.053', 'mt940']) AS format""",
    """INSERT INTO billing.line_wordings (line, digest, payload)
    SELECT key, key, '{"details": null, "counterparty": "Jane"}' FROM billing.bank_lines""",
    """INSERT INTO billing.transfers (line, place, account, currency, amount_minor, booking_date,
                                      payer_iban, state, allocated_minor, recorded_at)
    SELECT md5(n || 'camt.053')::uuid, 0, 'DE02', 'EUR', 8900, current_date, 'DE' || n, 'settled',
           8900, now() FROM generate_series(1, :count) AS n""",
    """INSERT INTO billing.transfer_decisions (transfer_id, rule, outcome, evidence, engine_version,
                                               actor, decided_at)
    SELECT id, 'reference', 'settle', '{}', '1', 'billing', now() FROM billing.transfers""",
    """INSERT INTO billing.transfer_invoices (account_id, plan_id, number, reference, key, currency,
        due_minor, settled_minor, state, months, issued_at, due_at)
    SELECT n, 1, 'BT-' || n, 'RF' || n, 'growth:' || n, 'EUR', 8900, 8900, 'paid', 1, now(), now()
    FROM generate_series(1, :count) AS n""",
    """INSERT INTO billing.allocations (transfer_id, transfer_invoice_id, amount_minor, decision_id,
                                        recorded_at)
    SELECT t.id, i.id, 8900, d.id, now() FROM billing.transfer_invoices AS i
    JOIN billing.transfers AS t ON t.payer_iban = 'DE' || i.account_id
    JOIN billing.transfer_decisions AS d ON d.transfer_id = t.id""",
    """INSERT INTO billing.unapplied_cash (account_id, currency, amount_minor, why, transfer_id,
                                           decision_id, recorded_at)
    SELECT i.account_id, 'EUR', 1, 'overpaid', a.transfer_id, a.decision_id, now()
    FROM billing.allocations AS a JOIN billing.transfer_invoices AS i
        ON i.id = a.transfer_invoice_id""",
)


def _run(statements: Sequence[str], **values: object) -> None:
    with engine().begin() as connection:
        for statement in statements:
            named = {name: value for name, value in values.items() if f":{name}" in statement}
            connection.execute(sa.text(statement), named)


def seed_closing(count: int) -> None:
    """Fill every table that names an account, of `count` accounts of which 100 are gone."""
    _run((_PLAN, _ACCOUNTS), count=count + GONE, gone=GONE, status="cancelled")
    _run(_LEFT, count=count + GONE)


def close_gone() -> None:
    """Close the accounts that are gone."""
    with transaction() as ctx:
        assert len(closing.close(ctx, range(FIRST, FIRST + GONE))) == GONE


def _seed_accounts(count: int, *, status: str = "active") -> None:
    _run((_PLAN, _ACCOUNTS), count=count, gone=0, status=status)


def _until_none(sweep: Callable[[Context], Sequence[object]]) -> Callable[[], None]:
    """Return the act of sweeping until nothing is due, in one lane."""

    def act() -> None:
        while True:
            with transaction() as ctx:
                if not sweep(ctx):
                    return

    return act


def _sign_up() -> None:
    """Give each account its first credits, one by one, as the task does."""
    with engine().connect() as connection:
        ids = connection.scalars(sa.text("SELECT id FROM igny8_tenants ORDER BY id")).all()
    for account_id in ids:
        with transaction() as ctx:
            assert signup_grant.give(ctx, account_id).entry


def _seed_expiry(count: int) -> None:
    renewals.fill(FIRST, count)
    _run(
        (
            "UPDATE billing.lots SET source = 'goodwill', period_number = NULL",
            "DELETE FROM billing.credit_calendars",
        )
    )


def _seed_trials(count: int) -> None:
    sweeps.fill(FIRST, count, credits=sweeps.CREDITS)
    _run(("UPDATE billing.trials SET ends_at = now(), suspends_at = now()",))
    with transaction() as ctx:
        trial_overrides.confirm(ctx.by("operator:bench"), until=clock.now())


def _seed_reminders(count: int) -> None:
    sweeps.fill(FIRST, count, credits=0)


def _seed_dunning(count: int) -> None:
    _seed_accounts(count)
    _run(
        (
            """INSERT INTO billing.dunning_cases (account_id, schedule, cause, opened_at, starts_at,
                                                  due_at)
            SELECT n, 'card', 'card_failed', now(), now(), now()
            FROM generate_series(1, :count) AS n""",
        ),
        count=count,
    )


def _seed_events(count: int) -> None:
    ground.open_accounts(FIRST, count=delivery.ACCOUNTS)
    delivery.leave(count, accounts=delivery.ACCOUNTS)


def _deliver() -> None:
    with delivery.receiver(0.0) as url:
        deliver_due([Webhooks(url, [delivery.SECRET])], budget_s=delivery.BUDGET_S)


ROWS = (
    Growth("signup_grants", 10, _seed_accounts, _sign_up, grows=True),
    Growth(
        "renewals",
        100,
        lambda n: renewals.fill(FIRST, n),
        _until_none(renewal_acts.sweep_due),
        grows=True,
    ),
    Growth("expiry", 100, _seed_expiry, _until_none(expiry.sweep), grows=True),
    Growth(
        "trials_reminded", 100, _seed_reminders, _until_none(trial_reminders.remind_due), grows=True
    ),
    Growth("trials_ended", 100, _seed_trials, _until_none(trial_sweeps.expire_due), grows=True),
    Growth("dunning", 100, _seed_dunning, _until_none(dunning_sweep.step_due), grows=True),
    Growth("events_delivered", 100, _seed_events, _deliver, grows=True),
    Growth("close_accounts", 1_000, seed_closing, close_gone),
)
