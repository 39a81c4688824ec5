"""Objects at Stripe that the main app or an operator said to be an account's."""

from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from billing.context import Context
from models.stripe import StripeOwner


def record(ctx: Context, object_id: str, account_id: int) -> None:
    """Record whose object this is; a later word replaces an earlier one."""
    row = insert(StripeOwner).values(
        object_id=object_id, account_id=account_id, actor=ctx.actor, recorded_at=ctx.now
    )
    new = row.excluded
    ctx.session.execute(
        row.on_conflict_do_update(
            index_elements=[StripeOwner.object_id],
            set_={
                "account_id": new.account_id,
                "actor": new.actor,
                "recorded_at": new.recorded_at,
            },
        )
    )


def of(session: Session, object_ids: Iterable[str]) -> dict[str, int]:
    """The accounts of those of these objects that were named, by the objects' ids."""
    rows = select(StripeOwner.object_id, StripeOwner.account_id).where(
        StripeOwner.object_id.in_(list(object_ids))
    )
    pairs = session.execute(rows)
    return {name: account_id for name, account_id in pairs}  # noqa: C416 - Row is no pair to mypy


def of_accounts(session: Session, account_ids: Iterable[int]) -> list[str]:
    """The objects that were named as these accounts'."""
    rows = select(StripeOwner.object_id).where(StripeOwner.account_id.in_(list(account_ids)))
    return list(session.scalars(rows.order_by(StripeOwner.object_id)))
