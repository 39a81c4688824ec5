"""Whom an event about an account is for: its billing e-mail, else its owner, else an admin."""

from collections.abc import Iterable

from sqlalchemy.orm import Session

from billing.postgres import sql
from billing_client.events import Recipient

#: Of two admins, or owners, the one who came first.
_RECIPIENTS = """
SELECT a.id, found.email, found.source
FROM igny8_tenants AS a CROSS JOIN LATERAL (
    SELECT a.billing_email AS email, 'billing_email' AS source, 0 AS place, 0::bigint AS id
    UNION ALL
    SELECT u.email, 'owner', 1, u.id FROM igny8_users AS u WHERE u.id = a.owner_id
    UNION ALL
    SELECT u.email, u.role, CASE u.role WHEN 'owner' THEN 2 ELSE 3 END, u.id
    FROM igny8_users AS u WHERE u.tenant_id = a.id AND u.role IN ('owner', 'admin')
    ORDER BY place, id
) AS found
WHERE a.id = ANY(%(ids)s::bigint[]) AND found.email <> ''
ORDER BY a.id, found.place, found.id
"""


def of(session: Session, account_ids: Iterable[int]) -> dict[int, Recipient]:
    """The recipient of each of these accounts; one that is missing has nobody with an address."""
    rows = session.connection().exec_driver_sql(_RECIPIENTS, {"ids": sql.numbers(set(account_ids))})
    found: dict[int, Recipient] = {}
    for account_id, email, source in rows.all():
        found.setdefault(account_id, Recipient(email, source))
    return found
