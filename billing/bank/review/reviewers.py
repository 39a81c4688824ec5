"""Reviewers: staff who decide about transfers, never for their own account, two above a limit."""

from dataclasses import dataclass

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from billing.bank.errors import NotAllowed
from billing.context import Context
from billing.host import accounts
from models.transfers import ConfirmationRequest, Transfer

#: Roles of the main app that may decide about money; a superuser may too.
STAFF = frozenset({"developer"})


@dataclass(frozen=True, slots=True)
class Reviewer:
    """A user who decides; `accounts`: those that the user owns or belongs to."""

    id: int
    accounts: frozenset[int]

    @property
    def actor(self) -> str:
        """The name recorded with the reviewer's decisions."""
        return f"user:{self.id}"


def reviewer(session: Session, id_or_email: str) -> Reviewer:
    """Read the reviewer with this id or email. Raises NotAllowed unless the user is staff."""
    user = accounts.user(session, id_or_email)
    if user is None:
        raise NotAllowed(problem="no user of the main app has this id or email")
    if not user.is_superuser and user.role not in STAFF:
        raise NotAllowed(user_id=user.id, problem=f"the role {user.role} may not decide")
    return Reviewer(user.id, user.accounts)


def must_not_own(reviewer: Reviewer, account_ids: set[int]) -> None:
    """Check that no money comes to an account of the reviewer's own. Raises NotAllowed."""
    if own := sorted(reviewer.accounts & account_ids):
        raise NotAllowed(
            user_id=reviewer.id, account_id=own[0], problem="the account is the user's own"
        )


def has_second(
    ctx: Context,
    transfer: Transfer,
    reviewer: Reviewer,
    requested: list[object],
    *,
    limit_minor: int,
) -> bool:
    """Whether a decision may be done: within the limit, or requested by two reviewers.

    If not, the request is recorded and waits for a second reviewer. It replaces another's request.
    """
    if transfer.amount_minor <= limit_minor:
        return True
    is_open = (
        ConfirmationRequest.transfer_id == transfer.id,
        ConfirmationRequest.second_actor.is_(None),
        ConfirmationRequest.is_withdrawn.is_(False),
    )
    first = ctx.session.scalars(select(ConfirmationRequest).where(*is_open)).first()
    if first is not None and (first.version, first.parts) == (transfer.version, requested):
        if first.first_actor == reviewer.actor:
            return False
        first.second_actor = reviewer.actor
        return True
    withdrawn = update(ConfirmationRequest).where(*is_open).values(is_withdrawn=True)
    ctx.session.execute(withdrawn)
    ctx.session.execute(
        insert(ConfirmationRequest).values(
            transfer_id=transfer.id,
            version=transfer.version,
            parts=requested,
            first_actor=reviewer.actor,
            asked_at=ctx.now,
        )
    )
    return False
