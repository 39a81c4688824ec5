"""Who paid for whom before: IBANs that references matched, and people confirmed or declined."""

from collections.abc import Iterable

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from billing.context import Context
from billing.lifecycle.trials import fingerprint_rows, fingerprints
from models.transfers import Payer


def know(
    session: Session,
    iban: str | None,
    account_id: int,
    *,
    confirmed: int = 0,
    matched: int = 0,
    declined: int = 0,
) -> None:
    """Remember that this IBAN paid, or did not pay, for this account."""
    if iban is None:
        return
    row = insert(Payer).values(
        iban=iban, account_id=account_id, confirmed=confirmed, matched=matched, declined=declined
    )
    session.execute(
        row.on_conflict_do_update(
            index_elements=["iban", "account_id"],
            set_={
                "confirmed": Payer.confirmed + confirmed,
                "matched": Payer.matched + matched,
                "declined": Payer.declined + declined,
            },
        )
    )


def show(ctx: Context, iban: str | None, account_ids: Iterable[int]) -> None:
    """Record that these accounts pay from this IBAN: one trial for each (`identity_rows`)."""
    if iban is not None:
        payer = [fingerprints.of_iban(iban)]
        fingerprint_rows.record(ctx, dict.fromkeys(account_ids, payer))


def unshow(session: Session, iban: str | None, account_ids: Iterable[int]) -> None:
    """Forget that: a person says that the payment was not theirs."""
    if iban is not None:
        fingerprint_rows.forget(session, account_ids, fingerprints.of_iban(iban))
