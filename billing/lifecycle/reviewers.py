"""Status changes that a person makes by command: suspend, reactivate, cancel."""

from billing.context import Context
from billing.host import accounts
from billing.lifecycle import status


def suspend(ctx: Context, account_id: int) -> bool:
    """Suspend an account by hand; False if it is suspended by hand already."""
    return status.suspend(ctx, account_id, reason="manual")


def cancel(ctx: Context, account_id: int) -> bool:
    """Cancel an account; False if it is cancelled already."""
    return status.change(ctx, account_id, to="cancelled", reason="manual")


def reactivate(ctx: Context, account_id: int) -> bool:
    """Lift every reason for suspension, or activate an account that is not suspended.

    A suspended account returns to its status before the suspension. Returns False if the account is
    active already. Raises as `status.change`.
    """
    account = accounts.lock_billable(ctx.session, account_id)
    if account.status == "suspended":
        # The main app may have suspended it before we recorded reasons for that.
        if not status.suspension_reasons(ctx.session, account_id):
            status.suspend(ctx, account_id, reason="manual")
        for reason in status.suspension_reasons(ctx.session, account_id):
            status.lift(ctx, account_id, reason=reason)
        return True
    for reason in status.suspension_reasons(ctx.session, account_id):
        status.lift(ctx, account_id, reason=reason)
    return status.change(ctx, account_id, to="active", reason="manual")
