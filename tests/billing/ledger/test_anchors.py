"""Anchors show what a hash chain alone can't: a tail, or a whole account, that was cut off."""

import datetime as dt
import json

import pytest
import sqlalchemy as sa

from billing.ledger import anchors, compare_anchors, entry_rows, old_hashes
from flows import audit, publish_anchors
from tests.billing.ledger.test_hash_chain import tamper, with_key
from tests.story import NOON
from worker.database import engine, transaction

TABLE = "igny8_credit_transactions"
#: What somebody with every right does to hide an account's last entry: all sums agree afterwards.
CUT_OFF = (
    f"DELETE FROM billing.keys WHERE entry_id = (SELECT max(id) FROM {TABLE} WHERE tenant_id = 1)",
    "UPDATE billing.lots SET remaining = remaining + 2 WHERE account_id = 1",
    "UPDATE igny8_tenants SET credits = credits + 2 WHERE id = 1",
    f"DELETE FROM {TABLE} WHERE id = (SELECT max(id) FROM {TABLE} WHERE tenant_id = 1)",
    f"""UPDATE billing.books SET credits = credits + 2, chain = (
            SELECT chain FROM {TABLE} WHERE tenant_id = 1 ORDER BY id DESC LIMIT 1)
        WHERE account_id = 1""",
)
#: An account that vanishes with all its rows.
GONE = (
    f"DELETE FROM billing.keys WHERE entry_id IN (SELECT id FROM {TABLE} WHERE tenant_id = 1)",
    *(
        f"DELETE FROM {table} WHERE {column} = 1"
        for table, column in (
            (TABLE, "tenant_id"),
            ("billing.lots", "account_id"),
            ("billing.books", "account_id"),
            ("igny8_tenants", "id"),
        )
    ),
)


@pytest.fixture
def acme(ledger):
    """Two accounts with four debits each, audited."""
    for slug in ("acme", "other"):
        ledger.open_account(slug, credits=100)
        for number in range(4):
            ledger.debit(slug, key=f"{slug}{number}", metadata={"n": number})
    assert audit.run(now=NOON).agrees
    return ledger


def found(later=dt.timedelta(0), **options):
    """The findings of an audit, by check."""
    report = audit.run(now=NOON + later, **options)
    return {name: rows for name, rows in report.findings.items() if rows}


def kept(folder):
    with (folder / "anchors").open() as lines:
        return compare_anchors.read_lines(lines)


def anchored():
    with engine().connect() as connection:
        return connection.execute(
            sa.text("SELECT account_id, entries FROM billing.chain_anchors ORDER BY 1")
        ).all()


def test_an_audit_anchors_each_account_at_its_last_entry(acme):
    assert anchored() == [(1, 5), (2, 5)]


def test_an_audit_reads_only_what_is_new_since_the_anchors(acme):
    acme.debit("acme", key="new")

    report = audit.run(now=NOON)

    covered = report.coverage
    assert (report.agrees, covered.kind, covered.accounts, covered.entries) == (True, "new", 2, 1)
    assert covered.since == NOON.isoformat()
    assert anchored() == [(1, 6), (2, 5)]


def test_a_full_audit_reads_every_entry(acme):
    covered = audit.run(now=NOON, is_full=True).coverage

    assert (covered.kind, covered.entries, covered.is_complete) == ("full", 10, True)


@pytest.mark.parametrize("is_full", [False, True])
def test_a_tail_that_was_cut_off_with_all_that_agrees_with_it_is_found(acme, is_full):
    for statement in CUT_OFF:
        tamper(statement)

    assert found(is_full=is_full)["seals"][0][0] in ("account 1", "entry 6")


@pytest.mark.parametrize("is_full", [False, True])
def test_an_account_that_was_removed_with_all_its_rows_is_found(acme, is_full):
    for statement in GONE:
        tamper(statement)

    ((subject, facts),) = found(is_full=is_full)["seals"]
    assert subject == "account 1"
    assert facts["missing"] == "the balance with all its entries"
    assert facts["entries"] == 5


def test_without_the_anchors_neither_would_be_found(acme):
    for statement in ("DELETE FROM billing.chain_anchors", "DELETE FROM billing.chain_total"):
        tamper(statement)
    for statement in CUT_OFF:
        tamper(statement)

    assert found(is_full=True) == {}


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param(f"DELETE FROM {TABLE} WHERE idempotency_key = 'acme1'", id="one removed"),
        pytest.param(
            f"UPDATE {TABLE} AS e SET description = o.description || '!', metadata = o.metadata,"
            f" idempotency_key = o.idempotency_key FROM {TABLE} AS o"
            " WHERE (e.idempotency_key, o.idempotency_key)"
            " IN (('acme1', 'acme2'), ('acme2', 'acme1'))",
            id="two swapped",
        ),
        pytest.param(
            f"""UPDATE {TABLE} SET metadata = '{{"n": "1"}}' WHERE idempotency_key = 'acme1'""",
            id="a number in the metadata turned into text",
        ),
        pytest.param(
            f"UPDATE {TABLE} SET reference = 'None' WHERE idempotency_key = 'acme1'",
            id="NULL turned into the text None",
        ),
    ],
)
def test_a_change_before_the_anchor_is_found_by_the_full_audit(acme, statement):
    tamper(statement)

    assert "seals" not in found()
    ((subject, facts),) = found(is_full=True)["seals"]
    assert subject.startswith("entry ")
    assert facts["problem"] == "its hash does not fit it"


def test_a_finding_of_the_full_audit_stays_until_another_full_one(acme):
    tamper(f"DELETE FROM {TABLE} WHERE idempotency_key = 'acme1'")
    found(is_full=True)

    found(dt.timedelta(hours=1))

    with engine().connect() as connection:
        opened = connection.execute(
            sa.text('SELECT count(*) FROM billing.findings WHERE "check" = $$seals$$ AND'
                    " closed_at IS NULL")
        )  # fmt: skip
        assert opened.scalar_one() == 1


def test_hashes_computed_anew_without_a_key_are_found_by_the_anchor(acme):
    """Whoever may write everything, the anchors too, must be found by what is kept outside."""
    tamper(f"DELETE FROM {TABLE} WHERE idempotency_key = 'acme3'")
    with transaction() as ctx:
        entries = acme.see("acme").entries
        entries[-1].description = "changed"
        previous = entries[-2].entry_hash
        text = entry_rows.hashed_text(entries[-1])
        made = entry_rows.entry_hash(None, previous, entries[-1], text)
        ctx.session.execute(sa.text("SET LOCAL session_replication_role = replica"))
        ctx.session.execute(
            sa.text(f"UPDATE {TABLE} SET description = 'changed', chain = :hash WHERE id = :id"),
            {"hash": made, "id": entries[-1].id},
        )
        ctx.session.execute(sa.text("UPDATE billing.books SET chain = :hash WHERE account_id = 1"),
                            {"hash": made})  # fmt: skip

    assert found(is_full=True)["seals"][0][0] == "account 1"


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        pytest.param(
            "DELETE FROM billing.chain_anchors WHERE account_id = 1",
            "anchors were removed or added: 2 were recorded, 1 are here",
            id="an anchor removed",
        ),
        pytest.param(
            "UPDATE billing.chain_anchors SET entries = 3 WHERE account_id = 1",
            "its anchor was changed",
            id="an anchor changed",
        ),
        pytest.param(
            "DELETE FROM billing.chain_total",
            "the total of the anchors was changed or removed",
            id="the total removed",
        ),
        pytest.param(
            "UPDATE billing.chain_total SET old_ended_at = now()",
            "the total of the anchors was changed or removed",
            id="the total changed",
        ),
    ],
)
def test_an_anchor_that_was_removed_or_changed_is_found(acme, statement, problem):
    tamper(statement)

    assert [facts["problem"] for _, facts in found()["anchors"]] == [problem]


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM billing.chain_anchors WHERE account_id = 1",
        "UPDATE billing.chain_anchors SET entries = 3 WHERE account_id = 1",
        "DELETE FROM billing.chain_total",
        "UPDATE billing.chain_total SET accounts = 1",
    ],
)
def test_new_entries_do_not_cover_up_what_was_done_to_the_anchors(acme, statement):
    tamper(statement)

    for hour in range(3):
        acme.debit("acme", key=f"later{hour}")
        assert found(dt.timedelta(hours=hour))["anchors"], hour


def test_an_anchor_that_was_set_back_to_an_earlier_one_is_found(acme):
    with engine().begin() as connection:
        rows = connection.execute(sa.text("SELECT * FROM billing.chain_anchors")).mappings().all()
    acme.debit("acme", key="new")
    audit.run(now=NOON)
    with engine().begin() as connection:
        connection.execute(
            sa.text(
                "UPDATE billing.chain_anchors SET entries = :entries, entry_id = :entry_id,"
                " last_hash = :last_hash, balance = :balance, mac = :mac"
                " WHERE account_id = :account_id"
            ),
            dict(rows[0]),
        )

    ((_, facts),) = found()["anchors"]
    assert facts["problem"].startswith("anchors were set back")


def test_new_anchors_end_a_finding_about_anchors(acme):
    tamper("DELETE FROM billing.chain_anchors WHERE account_id = 1")
    with transaction() as ctx:
        anchors.forget(ctx)

    assert found(is_full=True) == {}
    assert anchored() == [(1, 5), (2, 5)]


def test_the_file_gets_the_heads_that_moved_since_the_last_time(acme, tmp_path):
    file = tmp_path / "anchors"
    assert publish_anchors.publish(str(file), now=NOON) == 2
    acme.debit("acme", key="new")
    audit.run(now=NOON)

    assert publish_anchors.publish(str(file), now=NOON) == 1
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [(line["event"], line.get("account_id"), line.get("entries")) for line in lines] == [
        ("chain_anchor", 1, 5),
        ("chain_anchor", 2, 5),
        ("chain_total", None, None),
        ("chain_anchor", 1, 6),
        ("chain_total", None, None),
    ]
    assert found(kept=kept(tmp_path)) == {}


@pytest.mark.parametrize(
    ("statements", "problem"),
    [
        pytest.param(CUT_OFF, "the entry that was its last one, of 5, is gone", id="a tail"),
        pytest.param(GONE, "its balance is gone; it had 5 entries", id="an account"),
        pytest.param(
            [f"DELETE FROM {TABLE} WHERE idempotency_key = 'acme1'"],
            "its first 5 entries are not those that were anchored",
            id="an entry in the middle",
        ),
        pytest.param(
            [f"UPDATE {TABLE} SET chain = sha256(chain) WHERE idempotency_key = 'acme3'"],
            "its first 5 entries are not those that were anchored",
            id="the hash of the last one",
        ),
    ],
)
def test_the_file_shows_what_was_removed_even_with_the_anchors(acme, tmp_path, statements, problem):
    publish_anchors.publish(str(tmp_path / "anchors"), now=NOON)
    for statement in (
        *statements,
        "DELETE FROM billing.chain_anchors",
        "DELETE FROM billing.chain_total",
    ):
        tamper(statement)

    about = found(kept=kept(tmp_path))["anchors_kept"]

    assert [facts["problem"] for subject, facts in about if subject == "account 1"] == [problem]


def test_the_file_shows_anchors_that_were_removed(acme, tmp_path):
    publish_anchors.publish(str(tmp_path / "anchors"), now=NOON)
    for table in ("billing.chain_anchors", "billing.chain_total"):
        tamper(f"DELETE FROM {table}")

    assert [facts["problem"] for _, facts in found(kept=kept(tmp_path))["anchors_kept"]] == [
        "its anchor was removed or set back",
        "its anchor was removed or set back",
        "2 accounts were anchored, 0 are now",
    ]


def test_lines_of_a_log_are_read_like_the_file(acme, tmp_path, caplog):
    log_line = '{"event": "task_done", "task": "upkeep.audit_books"}\n'
    file = tmp_path / "anchors"
    file.write_text(f"starting\n{log_line}")
    publish_anchors.publish(str(file), now=NOON)

    assert sorted(kept(tmp_path).newest) == [1, 2]


def test_a_broken_line_of_an_anchor_is_said_with_its_number():
    with pytest.raises(ValueError, match="line 2 is no anchor"):
        compare_anchors.read_lines(["x", '{"event": "chain_anchor", "account_id": 1}'])


# --- the older version of the hash ---------------------------------------------------------------
def as_an_old_worker(key, previous, entry, text):
    return old_hashes.entry_hash(key, previous, entry)


@pytest.fixture
def old(ledger, monkeypatch):
    """An account whose entries an older worker wrote."""
    ledger.open_account("acme", credits=100)
    with monkeypatch.context() as older:
        older.setattr(entry_rows, "entry_hash", as_an_old_worker)
        for number in range(3):
            details = {"n": number, "text": ["ä", None], "big": 1e22, "scale": 1.5}
            ledger.debit("acme", key=f"old{number}", metadata=details)
    return ledger


def lengths():
    with engine().connect() as connection:
        rows = connection.execute(sa.text(f"SELECT length(chain) FROM {TABLE} ORDER BY id"))
        return list(rows.scalars())


def test_old_entries_stay_verifiable_beside_new_ones(old):
    old.debit("acme", key="new")

    assert lengths() == [None, 32, 32, 32, 33]
    assert found() == found(is_full=True) == {}


def test_an_old_worker_beside_new_ones_is_no_finding_until_a_day_without_it(old, monkeypatch):
    old.debit("acme", key="new")
    found()
    monkeypatch.setattr(entry_rows, "entry_hash", as_an_old_worker)
    old.debit("acme", key="old again")
    last = old.see("acme").entries[-1].id

    assert found(dt.timedelta(hours=23)) == {}
    assert found(dt.timedelta(hours=30)) == {}
    found(dt.timedelta(hours=48))
    old.debit("acme", key="too late")
    ((_, facts),) = found(dt.timedelta(hours=49))["seals"]
    assert facts["problem"] == f"it has the older version of the hash, which ended at entry {last}"


def test_a_new_entry_cannot_be_rewritten_under_the_older_hash(old):
    """Without a key, all else would agree: the older hash alone must not hide it."""
    old.debit("acme", key="new", metadata={"n": 1})
    found()
    found(dt.timedelta(days=2))
    with transaction() as ctx:
        last, entry = old.see("acme").entries[-2:]
        entry.details = {"n": "1"}
        made = old_hashes.entry_hash(None, last.entry_hash, entry)
        ctx.session.execute(sa.text("SET LOCAL session_replication_role = replica"))
        for statement in (
            f'UPDATE {TABLE} SET metadata = \'{{"n": "1"}}\', chain = :hash WHERE id = :id',
            "UPDATE billing.books SET chain = :hash",
            "UPDATE billing.chain_anchors SET last_hash = :hash",
        ):
            ctx.session.execute(sa.text(statement), {"hash": made, "id": entry.id})

    ((_, facts),) = found(dt.timedelta(days=2), is_full=True)["seals"]
    assert facts["problem"].startswith("it has the older version of the hash")


def test_the_hash_of_a_new_entry_is_no_older_hash_of_another(old, monkeypatch):
    """The two versions hash different bytes, whatever a row's texts are."""
    with_key(monkeypatch, b"secret")
    old.open_account("keyed", credits=100)
    old.debit("keyed", key="k")
    (_, entry) = old.see("keyed").entries

    text = entry_rows.hashed_text(entry)
    first = entry_rows.opening_hash(entry.account_id, 100)
    assert entry.entry_hash == entry_rows.entry_hash(b"secret", first, entry, text)
    assert entry.entry_hash[1:] != old_hashes.entry_hash(b"secret", first, entry)
