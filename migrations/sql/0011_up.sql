-- The hot path's statements as functions: one round trip instead of three, with kept plans.
-- Sequential scans are off: a plan made while the table was empty would otherwise last, and the
-- statistics of a queue that fills within a minute are always out of date.

CREATE FUNCTION billing.locked_books(ids bigint[], at timestamptz)
RETURNS TABLE (
    id bigint, slug text, plan_id bigint, status text, credits int, is_deleted boolean,
    stripe_customer_id text,
    book_credits int, debt int, book_held int, opening_credits int, spent int,
    spent_since timestamptz, chain bytea, spend_cap int, frozen bigint, is_due boolean,
    lot_id bigint, source text, priority smallint, is_promotional boolean, remaining int,
    lot_held int, starts_at timestamptz, expires_at timestamptz
)
LANGUAGE plpgsql
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
#variable_conflict use_column
BEGIN
    PERFORM FROM igny8_tenants WHERE id = ANY (locked_books.ids) ORDER BY id FOR NO KEY UPDATE;
    -- A statement of its own: its snapshot sees what the last holder of the locks committed.
    RETURN QUERY
    SELECT a.id::bigint, a.slug::text, a.plan_id::bigint, a.status::text, a.credits::int,
           a.is_deleted, a.stripe_customer_id::text,
           b.credits, b.debt, b.held, b.opening_credits, b.spent, b.spent_since, b.chain, c.credits,
           CASE WHEN c.credits IS NULL OR b.held = 0 THEN 0 ELSE billing.frozen(a.id) END::bigint,
           k.account_id IS NOT NULL,
           l.id, l.source, l.priority, l.is_promotional, l.remaining, l.held, l.starts_at,
           l.expires_at
    FROM igny8_tenants AS a
    LEFT JOIN billing.books AS b ON b.account_id = a.id
    LEFT JOIN billing.spend_caps AS c ON c.account_id = a.id
    LEFT JOIN billing.credit_calendars AS k
        ON k.account_id = a.id AND k.ended_at IS NULL AND k.next_due_at <= locked_books.at
    LEFT JOIN billing.lots AS l ON l.account_id = a.id AND l.is_open
    WHERE a.id = ANY (locked_books.ids);
END
$$;

CREATE FUNCTION billing.write_books(
    lot_ids bigint[], remaining int[], lot_held int[],
    ids bigint[], credits int[], debt int[], debt_limit int[], held int[], spent int[],
    spent_since timestamptz[], chain bytea[], deltas int[]
) RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
#variable_conflict use_column
BEGIN
    UPDATE billing.lots AS l SET remaining = new.remaining, held = new.held
    FROM unnest(lot_ids, write_books.remaining, lot_held) AS new (id, remaining, held)
    WHERE l.id = new.id;

    UPDATE billing.books AS b
    SET credits = new.credits, debt = new.debt, debt_limit = new.debt_limit, held = new.held,
        spent = new.spent, spent_since = new.spent_since, chain = new.chain
    FROM unnest(ids, write_books.credits, write_books.debt, write_books.debt_limit,
                write_books.held, write_books.spent, write_books.spent_since, write_books.chain)
        AS new (id, credits, debt, debt_limit, held, spent, spent_since, chain)
    WHERE b.account_id = new.id;

    UPDATE igny8_tenants AS a SET credits = a.credits + moved.delta
    FROM unnest(ids, deltas) AS moved (id, delta)
    WHERE a.id = moved.id AND moved.delta <> 0;
END
$$;

CREATE FUNCTION billing.take_inbox(accounts bigint[], share int)
RETURNS TABLE (account_id bigint, id bigint, task text, arguments text)
LANGUAGE plpgsql
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_sort = off
AS $$
#variable_conflict use_column
BEGIN
    -- By ctid, which is stable: rows of the inbox are inserted and deleted, never updated.
    RETURN QUERY
    DELETE FROM billing.inbox AS i WHERE i.ctid = ANY (ARRAY(
        SELECT mine.ctid FROM unnest(accounts) AS a (id)
        CROSS JOIN LATERAL (
            SELECT r.ctid FROM billing.inbox AS r
            WHERE r.account_id = a.id ORDER BY r.id LIMIT share FOR UPDATE SKIP LOCKED
        ) AS mine
    ))
    RETURNING i.account_id, i.id, i.task, i.arguments::text;
END
$$;

-- Whether any of these accounts has a row before its given one.
CREATE FUNCTION billing.inbox_has_earlier(accounts bigint[], ids bigint[]) RETURNS boolean
LANGUAGE plpgsql
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
BEGIN
    RETURN EXISTS (
        SELECT FROM unnest(accounts, ids) AS given (account_id, id)
        JOIN billing.inbox AS i ON i.account_id = given.account_id AND i.id < given.id
    );
END
$$;

-- Whether another drain is working on the account: only drains lock rows.
CREATE FUNCTION billing.inbox_is_drained(account bigint) RETURNS boolean
LANGUAGE plpgsql
SET enable_seqscan = off
SET enable_bitmapscan = off
AS $$
DECLARE
    first bigint;
BEGIN
    SELECT i.id INTO first FROM billing.inbox AS i
    WHERE i.account_id = account ORDER BY i.id LIMIT 1;
    PERFORM FROM billing.inbox AS i
    WHERE i.account_id = account AND i.id = first FOR UPDATE SKIP LOCKED;
    RETURN NOT FOUND AND first IS NOT NULL;
END
$$;
