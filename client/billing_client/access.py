"""Who is let in: one indexed read, for the middleware and for the authentication by API key."""

from contextlib import closing
from dataclasses import dataclass

from billing_client.inbox import Connection


@dataclass(frozen=True, slots=True)
class Access:
    """The answer; true only if the account is let in.

    `http_status`: 200, 402 (money settles it), 403 (a person must), or 401 for an API key that
    opens nothing. `reason`: trial, active, pending_payment or system; else trial_over,
    payment_failed, no_plan, plan_inactive, dispute, manual, suspended, cancelled, deleted,
    unknown_status, unknown_account, unknown_key or ambiguous_key. `words` are for the customer.
    """

    is_allowed: bool
    http_status: int
    reason: str
    words: str
    account_id: int | None = None
    site_id: int | None = None

    def __bool__(self) -> bool:
        return self.is_allowed


UNKNOWN_ACCOUNT = Access(False, 403, "unknown_account", "No such account.")
UNKNOWN_KEY = Access(False, 401, "unknown_key", "The API key is not valid.")
AMBIGUOUS_KEY = Access(False, 401, "ambiguous_key", "The API key is not unique. Make a new one.")

_ACCESS = """
SELECT is_allowed, http_status, reason, words, account_id, site_id FROM billing.access(%s, %s)
"""


def access(
    connection: Connection, account_id: int | None = None, *, api_key: str | None = None
) -> Access:
    """Whether an account is let in, by its id or by the API key of one of its sites.

    Give one of the two; TypeError otherwise. `connection` as in `billing_client.inbox`; nothing
    is written. The app's role needs `billing allow-app` once.
    """
    if (account_id is None) == (api_key is None):
        raise TypeError("give an account_id or an api_key")
    if api_key is not None and (not api_key or "\x00" in api_key):
        return UNKNOWN_KEY
    with closing(connection.cursor()) as cursor:
        cursor.execute(_ACCESS, [account_id, api_key])
        found = [Access(*row) for row in cursor.fetchall()]
    if not found:
        return UNKNOWN_KEY if account_id is None else UNKNOWN_ACCOUNT
    return found[0] if len({each.account_id for each in found}) == 1 else AMBIGUOUS_KEY
