"""Known payers: IBANs that references matched, and that reviewers confirmed or declined."""

from collections.abc import Iterable

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from billing.context import Context
from billing.lifecycle.trials import fingerprint_rows, fingerprints
from models.transfers import Payer


def count(
    session: Session,
    iban: str | None,
    account_ids: Iterable[int],
    *,
    confirmed: int = 0,
    matched: int = 0,
    declined: int = 0,
) -> None:
    """Count that this IBAN paid, or did not pay, for these locked accounts."""
    if iban is None:
        return
    counts = {"confirmed": confirmed, "matched": matched, "declined": declined}
    for account_id in sorted(account_ids):
        row = insert(Payer).values(iban=iban, account_id=account_id, **counts)
        added = {name: getattr(Payer, name) + number for name, number in counts.items()}
        session.execute(
            row.on_conflict_do_update(index_elements=["iban", "account_id"], set_=added)
        )


def link(ctx: Context, iban: str | None, account_ids: Iterable[int]) -> None:
    """Link the IBAN to these accounts as a trial fingerprint: each payer gets one trial."""
    if iban is not None:
        payer = [fingerprints.of_iban(iban)]
        fingerprint_rows.record(ctx, dict.fromkeys(account_ids, payer))


def unlink(session: Session, iban: str | None, account_ids: Iterable[int]) -> None:
    """Remove that link: a reviewer says that the payment was not for these accounts."""
    if iban is not None:
        fingerprint_rows.forget(session, account_ids, fingerprints.of_iban(iban))
