"""Debits one by one, as fast as Postgres takes them: pgbench, 8 clients, one prepared statement."""

import os
import re
import subprocess
import tempfile
from pathlib import Path

import click

from bench import ground, measure
from bench.measure import Row
from bench.stack import server_pids
from devstack.binaries import find_postgres
from devstack.errors import BinariesMissing
from worker.database import engine

#: Separate accounts, for this bypasses our ledger.
FIRST = 3_000_000
CLIENTS, THREADS = 8, 2
#: Name and number of accounts.
CASES = (("one_by_one_uniform", ground.ACCOUNTS), ("one_by_one_hot", 1))
_TPS = re.compile(r"tps = ([\d.]+)")
#: The effect of a debit in one statement and one round trip, without our checks.
_ONE_DEBIT = """
\\set id random({first}, {last})
WITH new AS (SELECT {key} AS key),
account AS (SELECT id, credits FROM igny8_tenants WHERE id = :id FOR NO KEY UPDATE),
known AS (INSERT INTO billing.keys (key, content, entry_id) SELECT key, 1, NULL FROM new),
lot AS (UPDATE billing.lots SET remaining = remaining - 2
        WHERE account_id = (SELECT id FROM account) AND is_open),
book AS (UPDATE billing.books SET credits = credits - 2
         WHERE account_id = (SELECT id FROM account)),
entry AS (INSERT INTO igny8_credit_transactions
    (tenant_id, type, amount, balance_after, description, idempotency_key, actor, happened_at,
     lots_used, units)
    SELECT id, 'deduction', -2, credits - 2, 'image_prompt_extraction', key::text, 'main_app',
           now(), '[[1, -2]]', 1 FROM account, new)
UPDATE igny8_tenants SET credits = credits - 2 WHERE id = (SELECT id FROM account);
"""


def rows() -> list[Row]:
    """Return a row for all accounts and one for a single one; none, and a sentence, without pgbench."""
    program = _program()
    if program is None:
        click.echo(
            "pgbench is missing, so the debits one by one are left out. It comes with the extra"
            " `embedded`, and with Debian's package postgresql.",
            err=True,
        )
        return []
    ground.open_accounts(FIRST)
    measured = [_measured(program, name, accounts) for name, accounts in CASES]
    _forget()
    return measured


def _program() -> Path | None:
    try:
        program = find_postgres() / "pgbench"
    except BinariesMissing:
        return None
    return program if program.is_file() else None


def _measured(program: Path, name: str, accounts: int) -> Row:
    seconds = max(int(measure.LONG_ENOUGH_S), 1)
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(_ONE_DEBIT.format(first=FIRST, last=FIRST + accounts - 1, key=_key()))
        script.flush()
        options = f"-n -M prepared -c {CLIENTS} -j {THREADS} -T {seconds} -f {script.name}"
        output: list[str] = []

        def work() -> None:
            ran = subprocess.run(
                [str(program), *options.split()],
                env=os.environ | _address(),
                capture_output=True,
                text=True,
                check=True,
            )
            output.append(ran.stdout)

        row = measure.timed(name, 1, work, roots=server_pids())
    found = _TPS.search(output[0])
    assert found is not None, output[0]
    rate = float(found[1])
    return Row(name, rate, row.cpu_ms / (rate * seconds))


def _key() -> str:
    """Return the SQL for a key: time-ordered where Postgres can make one, as our clients' are."""
    with engine().connect() as connection:
        version = connection.exec_driver_sql("SHOW server_version_num").scalar_one()
    return "uuidv7()" if int(version) >= 180_000 else "gen_random_uuid()"


def _address() -> dict[str, str]:
    url = engine().url
    parts = {
        "PGHOST": url.host or url.query.get("host"),
        "PGPORT": url.port,
        "PGUSER": url.username,
        "PGPASSWORD": url.password,
        "PGDATABASE": url.database,
    }
    return {name: str(value) for name, value in parts.items() if value}


def _forget() -> None:
    """Delete what bypassed the ledger and would fail its audit."""
    for statement in (
        """DELETE FROM billing.keys AS k USING igny8_credit_transactions AS e
        WHERE e.id = k.entry_id AND e.tenant_id >= {first} AND e.tenant_id < {last}""",
        """DELETE FROM billing.keys AS k USING igny8_credit_transactions AS e
        WHERE e.idempotency_key = k.key::text AND e.tenant_id >= {first} AND e.tenant_id < {last}""",
        "DELETE FROM igny8_credit_transactions WHERE tenant_id >= {first} AND tenant_id < {last}",
        "DELETE FROM billing.lots WHERE account_id >= {first} AND account_id < {last}",
        "DELETE FROM billing.books WHERE account_id >= {first} AND account_id < {last}",
        "DELETE FROM igny8_tenants WHERE id >= {first} AND id < {last}",
    ):
        bounded = statement.format(first=FIRST, last=FIRST + ground.ACCOUNTS)
        with engine().begin() as connection:
            connection.exec_driver_sql(f"SET LOCAL session_replication_role = replica; {bounded}")
