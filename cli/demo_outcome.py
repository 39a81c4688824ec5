"""What became of a key, and the ledgers of some accounts, for the demo's last screen."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.context import Context
from billing.host import accounts
from billing.ledger import entry_rows, idempotency
from billing.support import overview
from billing.usage import refusals
from cli.screen import console
from models.operations import DeadLetter


def outcome_of(session: Session, key: str) -> str:
    """Taken, refused, a dead letter, or nothing yet; in words."""
    uuid = idempotency.as_uuid(key)
    known = idempotency.lookup(session, [uuid]).get(uuid)
    if known is not None and known.entry_id is not None:
        entry = entry_rows.entries_by_id(session, [known.entry_id])[known.entry_id]
        return f"taken {-entry.amount}, balance {entry.balance_after:,}"
    if known is not None:
        error = refusals.by_key(session, [key])[key]
        return f"refused: {error.name} ({error})"
    dead = select(DeadLetter).where(DeadLetter.arguments["key"].astext == key)
    letter = session.scalars(dead).first()
    return f"dead letter: {letter.error} ({letter.reason})" if letter else "nothing yet"


def show_ledgers(ctx: Context, slugs: list[str]) -> None:
    """Print each account's ledger as text."""
    for slug in slugs:
        if accounts.read(ctx.session, slug) is None:
            continue
        seen = overview.of(ctx, slug)
        console.print(f"\nledger of {slug} ({seen.status}), balance {seen.credits:,}")
        console.print(overview.as_text(seen.entries) or "  (no entries: nothing was ever taken)")
