"""Who may decide about a transfer: staff, never for an account of their own, two above a limit."""

from dataclasses import dataclass

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from billing.bank.errors import NotAllowed
from billing.context import Context
from billing.host import accounts
from billing.host.accounts import HostUser
from models.transfers import ConfirmationRequest, Transfer

#: Roles of the main app that may decide about money; a superuser may too.
STAFF = frozenset({"developer"})


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who decides; `accounts`: those that they own or belong to."""

    id: int
    accounts: frozenset[int]

    @property
    def actor(self) -> str:
        """How they are named in what they decide."""
        return f"user:{self.id}"


def staff(session: Session, id_or_email: str) -> Person:
    """The person with this id or email. Raises NotAllowed unless they are staff."""
    user = accounts.user(session, id_or_email)
    if user is None:
        raise NotAllowed(problem="no user of the main app has this id or email")
    if not _is_staff(user):
        raise NotAllowed(user_id=user.id, problem=f"the role {user.role} may not decide")
    return Person(user.id, user.accounts)


def _is_staff(user: HostUser) -> bool:
    return user.is_superuser or user.role in STAFF


def must_not_own(person: Person, account_ids: set[int]) -> None:
    """Raises NotAllowed where money would come to an account of the person's own."""
    if own := sorted(person.accounts & account_ids):
        raise NotAllowed(user_id=person.id, account_id=own[0], problem="it is their own account")


def has_second(
    ctx: Context, transfer: Transfer, person: Person, wanted: list[object], *, limit_minor: int
) -> bool:
    """Whether what the person wants may be done: two want the same, or it is within the limit.

    If not, it is recorded, and waits for a second person; what another wanted before is withdrawn.
    """
    if transfer.amount_minor <= limit_minor:
        return True
    open_one = select(ConfirmationRequest).where(
        ConfirmationRequest.transfer_id == transfer.id,
        ConfirmationRequest.second_actor.is_(None),
        ConfirmationRequest.is_withdrawn.is_(False),
    )
    asked = ctx.session.scalars(open_one).first()
    is_same = asked is not None and (asked.version, asked.parts) == (transfer.version, wanted)
    if asked is not None and is_same:
        if asked.first_actor == person.actor:
            return False
        asked.second_actor = person.actor
        return True
    _ask(ctx, transfer, person, wanted)
    return False


def _ask(ctx: Context, transfer: Transfer, person: Person, wanted: list[object]) -> None:
    ctx.session.execute(
        update(ConfirmationRequest)
        .where(
            ConfirmationRequest.transfer_id == transfer.id,
            ConfirmationRequest.second_actor.is_(None),
        )
        .values(is_withdrawn=True)
    )
    ctx.session.execute(
        insert(ConfirmationRequest).values(
            transfer_id=transfer.id,
            version=transfer.version,
            parts=wanted,
            first_actor=person.actor,
            asked_at=ctx.now,
        )
    )
