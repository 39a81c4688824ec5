"""The hash chain shows entries that were changed, removed or inserted, even by SQL."""

import datetime as dt
from dataclasses import replace

import pytest
import sqlalchemy as sa

from billing.ledger import entry_rows, old_hashes
from billing.ledger.entry_rows import Entry
from flows import audit
from tests.story import NOON
from worker import database
from worker.database import engine


@pytest.fixture
def acme(ledger):
    ledger.open_account("acme", credits=100)
    ledger.open_account("other", credits=100)
    for number in range(4):
        metadata = {
            "n": number,
            "big": 1e22,
            "small": 1e-7,
            "zero": -0.0,
            "text": ["ä", None, True],
        }
        ledger.debit("acme", key=f"d{number}", metadata=metadata)
        ledger.debit("other", key=f"o{number}")
    return ledger


def tamper(statement):
    with engine().begin() as connection:
        connection.execute(sa.text("SET LOCAL session_replication_role = replica"))
        connection.execute(sa.text(statement))


def broken():
    """The subjects of the hash chain's findings, of an audit of all."""
    report = audit.run(now=NOON, is_full=True)
    return [subject for subject, _ in report.findings["seals"]]


def test_an_untouched_ledger_has_an_unbroken_hash_chain(acme):
    assert broken() == []
    assert acme.audit().agrees


@pytest.mark.parametrize(
    ("statement", "subjects"),
    [
        pytest.param(
            "UPDATE igny8_credit_transactions SET description = 'x' WHERE idempotency_key = 'd1'",
            1,
            id="a word changed",
        ),
        pytest.param(
            "UPDATE igny8_credit_transactions SET amount = -1 WHERE idempotency_key = 'd1'",
            1,
            id="an amount changed",
        ),
        pytest.param(
            "DELETE FROM igny8_credit_transactions WHERE idempotency_key = 'd1'",
            1,
            id="an entry removed from the middle",
        ),
        pytest.param(
            "DELETE FROM igny8_credit_transactions WHERE idempotency_key = 'd3'",
            1,
            id="the last entry removed",
        ),
        pytest.param(
            "DELETE FROM igny8_credit_transactions WHERE type = 'deduction' AND tenant_id ="
            " (SELECT id FROM igny8_tenants WHERE slug = 'acme')",
            1,
            id="every entry removed",
        ),
        pytest.param(
            "DELETE FROM igny8_credit_transactions WHERE tenant_id ="
            " (SELECT id FROM igny8_tenants WHERE slug = 'acme')",
            1,
            id="every entry removed, the opening too",
        ),
        pytest.param(
            "INSERT INTO igny8_credit_transactions (tenant_id, type, amount, balance_after,"
            " description, idempotency_key, actor, happened_at, created_at) SELECT id, 'grant', 5,"
            " 97, 'x', 'x', 'x', now(), now() FROM igny8_tenants WHERE slug = 'acme'",
            1,
            id="an entry slipped in",
        ),
        pytest.param(
            "INSERT INTO igny8_credit_transactions (tenant_id, type, amount, balance_after,"
            " description, idempotency_key, actor, happened_at, created_at) SELECT id,"
            " 'opening_balance', 5, 97, 'x', 'x', 'x', now(), now() FROM igny8_tenants"
            " WHERE slug = 'acme'",
            1,
            id="a second opening slipped in",
        ),
        pytest.param(
            "UPDATE igny8_credit_transactions SET actor = 'x' WHERE type = 'opening_balance'",
            2,
            id="the opening entry changed",
        ),
        pytest.param(
            "UPDATE billing.books SET opening_credits = 5", 2, id="the opening balance changed"
        ),
    ],
)
def test_a_change_is_found_where_it_begins(acme, statement, subjects):
    tamper(statement)

    assert len(broken()) == subjects


def with_key(monkeypatch, key):
    """Let this process have another secret."""
    context = database._context
    monkeypatch.setattr(
        database, "_context", lambda *given: replace(context(*given), ledger_key=key)
    )


def test_with_a_secret_key_sql_alone_cannot_forge_the_hashes(acme, monkeypatch):
    with_key(monkeypatch, b"secret")

    assert len(broken()) == 2
    entry = acme.see("acme").entries[-1]
    text = entry_rows.hashed_text(entry)
    one, other = (entry_rows.entry_hash(key, b"", entry, text) for key in (b"secret", None))
    assert one != other


AT = dt.datetime(2026, 3, 1, 12, 30, 15, 250000, tzinfo=dt.UTC)
A_DEBIT = Entry(7, 3, "deduction", -2, 98, "clustering", "debit:ai:1", "main_app", AT, AT, None, 4)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        pytest.param(
            replace(A_DEBIT, lots=[[1, -2]]),
            "d48fbd8a5807fb0cf93999a085bda1cccbc01c5f8fa92a5641e52e226ce26be3",
            id="a debit",
        ),
        pytest.param(
            replace(A_DEBIT, lots=[[1, -2]], details={"b": 1.50, "a": ["x", None, True]}),
            "428bb329aa2204f4514f7f84efe08f92b21af294b8296257e01bb441261d56a7",
            id="details",
        ),
        pytest.param(
            replace(A_DEBIT, reference="None", units=None, details={}),
            "c4439cded944c5fa3a2e5a9fa3d2fdd046f905331effd92257121f7731ccc91f",
            id="little else",
        ),
    ],
)
def test_an_entry_has_the_same_hash_for_ever(entry, expected):
    """Or every ledger that is there would seem to have been tampered with."""
    assert old_hashes.entry_hash(b"secret", b"before", entry).hex() == expected


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        pytest.param(
            replace(A_DEBIT, lots=[[1, -2]]),
            "0281a0095ce41c8df1bf46080661b75ecc29f1ce32701dbaef83d69fbd861a97d6",
            id="a debit",
        ),
        pytest.param(
            replace(A_DEBIT, lots=[[1, -2]], details={"b": 1.50, "a": ["x", None, True]}),
            "02eb7047375b85b4d520f6c63fbd44f74cbd1704f1540980dda44a650e143f1500",
            id="details",
        ),
        pytest.param(
            replace(A_DEBIT, reference="None", units=None, details={}),
            "02da88fc208efc51021b87f97bc55cd471c0a55fe5e22951d466270fa69e4f8fca",
            id="little else",
        ),
    ],
)
def test_an_entry_of_the_second_version_has_the_same_hash_for_ever(entry, expected):
    text = entry_rows.hashed_text(entry)

    assert entry_rows.entry_hash(b"secret", b"before", entry, text).hex() == expected
