"""Who paid for whom before: IBANs that references matched, and people confirmed or declined."""

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

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
