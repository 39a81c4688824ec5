"""Access control: one indexed read for the middleware and for the authentication by API key."""

from contextlib import closing
from dataclasses import dataclass

from billing_client.inbox import Connection


@dataclass(frozen=True, slots=True)
class Access:
    """The answer of `access`; true only if the account may use the product.

    Attributes:
        is_allowed: Whether the account may use the product.
        http_status: 200; 402 if a payment or a plan restores access; 403 if only an operator can;
            401 for an API key that is not valid.
        reason: `trial`, `active`, `pending_payment` or `system` if access is granted; else
            `trial_over`, `payment_failed`, `no_plan`, `plan_inactive`, `dispute`, `manual`,
            `suspended`, `cancelled`, `deleted`, `unknown_status`, `unknown_account`, `unknown_key`
            or `ambiguous_key`.
        words: A sentence for the customer.
        account_id: The account, if there is one.
        site_id: The site whose API key was given.
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
    """Decide whether an account may use the product. Nothing is written.

    Give either `account_id` or `api_key`. The app's database role needs `billing allow-app ROLE`
    once.

    Args:
        connection: Django's connection or a DB-API connection with `%s` parameters.
        account_id: The main app's id of the account.
        api_key: The API key of one of the account's sites.

    Returns:
        The answer, with its reason and the HTTP status that fits it.

    Raises:
        TypeError: Both or neither of the two were given.

    Example:
        ```python
        answer = access(connection, request.account.id)
        if not answer:
            return JsonResponse({"error": answer.words}, status=answer.http_status)
        ```
    """
    if (account_id is None) == (api_key is None):
        raise TypeError("access() takes either an account_id or an api_key")
    if api_key is not None and (not api_key or "\x00" in api_key):
        return UNKNOWN_KEY
    with closing(connection.cursor()) as cursor:
        cursor.execute(_ACCESS, [account_id, api_key])
        answers = [Access(*row) for row in cursor.fetchall()]
    if not answers:
        return UNKNOWN_KEY if account_id is None else UNKNOWN_ACCOUNT
    is_one_account = len({answer.account_id for answer in answers}) == 1
    return answers[0] if is_one_account else AMBIGUOUS_KEY
