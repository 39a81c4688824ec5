"""The recipient of an account's events: its billing e-mail, else its owner, else an admin."""

from collections.abc import Iterable

from sqlalchemy.orm import Session

from billing.postgres import sql
from billing_client.events import Recipient

# Of two admins, or owners, the one with the lower id.
_RECIPIENTS = """
SELECT a.id, contact.email, contact.source
FROM igny8_tenants AS a CROSS JOIN LATERAL (
    SELECT a.billing_email AS email, 'billing_email' AS source, 0 AS place, 0::bigint AS id
    UNION ALL
    SELECT u.email, 'owner', 1, u.id FROM igny8_users AS u WHERE u.id = a.owner_id
    UNION ALL
    SELECT u.email, u.role, CASE u.role WHEN 'owner' THEN 2 ELSE 3 END, u.id
    FROM igny8_users AS u WHERE u.tenant_id = a.id AND u.role IN ('owner', 'admin')
    ORDER BY place, id
) AS contact
WHERE a.id = ANY(%(ids)s::bigint[]) AND contact.email <> ''
ORDER BY a.id, contact.place, contact.id
"""


def of(session: Session, account_ids: Iterable[int]) -> dict[int, Recipient]:
    """Read the recipient of each of these accounts; accounts without any address are left out."""
    rows = session.connection().exec_driver_sql(
        _RECIPIENTS, {"ids": sql.numbers(sorted(set(account_ids)))}
    )
    recipients: dict[int, Recipient] = {}
    for account_id, email, source in rows:
        recipients.setdefault(account_id, Recipient(email, source))
    return recipients
