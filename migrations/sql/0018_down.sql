-- The functions as migration 0017 left them.
DROP INDEX billing.transfer_invoices_account_id_key_idx;
CREATE UNIQUE INDEX transfer_invoices_key_idx ON billing.transfer_invoices (key);
ALTER TABLE billing.statement_files
    DROP CONSTRAINT statement_files_received_at_check,
    DROP CONSTRAINT statement_files_size_check,
    DROP CONSTRAINT statement_files_name_check,
    DROP CONSTRAINT statement_files_account_check;
DROP FUNCTION billing.place_hold(bigint, text, int, text, int);
DROP FUNCTION billing.place_hold(bigint, text, int, text, int, timestamptz);
DROP FUNCTION billing.place_hold_at(bigint, text, int, text, int, timestamptz);
DROP FUNCTION billing.is_key_of_another(bigint, text);
DROP FUNCTION billing.own_key_uuid(bigint, text);
DROP FUNCTION billing.is_plain_text(text, int);

CREATE OR REPLACE FUNCTION billing.refuse_ledger_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the ledger is append-only: % is refused', TG_OP
        USING HINT = 'Reverse a wrong entry by another one that names it.',
              ERRCODE = 'restrict_violation';
END $$;

CREATE OR REPLACE FUNCTION billing.locked_books(ids bigint[], at timestamptz)
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

CREATE OR REPLACE FUNCTION billing.write_books(
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

CREATE OR REPLACE FUNCTION billing.place_hold(
    p_account_id bigint, p_operation text, p_units int, p_key text,
    p_ttl_s int DEFAULT 900, p_now timestamptz DEFAULT clock_timestamp()
) RETURNS TABLE (outcome text, credits bigint, available bigint, reason text,
                 held_until timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
-- Reserve what an operation will cost and answer at once: held, or refused with a reason.
-- Bad arguments raise no error, since that would abort the caller's transaction.
DECLARE
    hold billing.holds;
    lot record;
    as_key uuid := billing.key_uuid(p_key);
    asked bigint := billing.content_digest('hold', p_account_id::text, p_operation, p_units::text);
    known record;
    access record;
    is_known boolean;
    is_marked boolean;
    cost bigint;
    cap bigint;
    spent bigint;
    owed int;
    room bigint;
    left_to_hold int;
    taken int;
    from_lots jsonb := '[]'::jsonb;
BEGIN
    IF NOT COALESCE(p_units BETWEEN 1 AND 1000000 AND length(p_key) BETWEEN 1 AND 200
                    AND left(p_key, 8) <> 'billing:' AND p_ttl_s BETWEEN 1 AND 86400
                    AND p_operation IS NOT NULL AND p_account_id IS NOT NULL
                    AND p_now IS NOT NULL, false) THEN
        RETURN QUERY SELECT 'refused', 0::bigint, 0::bigint, 'InvalidField', NULL::timestamptz;
        RETURN;
    END IF;
    PERFORM FROM public.igny8_tenants AS a WHERE a.id = p_account_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN QUERY SELECT 'refused', 0::bigint, 0::bigint, 'UnknownAccount', NULL::timestamptz;
        RETURN;
    END IF;
    SELECT k.content, k.entry_id INTO known FROM billing.keys AS k WHERE k.key = as_key;
    is_known := FOUND;
    -- A reversal of another account has named the key (content 0): it is free for this one.
    is_marked := is_known AND known.content = 0 AND NOT EXISTS (
        SELECT FROM billing.refusals AS r
        WHERE r.key = p_key AND r.account_id = p_account_id AND r.reason = 'ReversedFirst');
    IF is_known AND NOT is_marked AND known.content <> asked THEN
        RETURN QUERY SELECT 'refused', 0::bigint, 0::bigint, 'KeyReused', NULL::timestamptz;
        RETURN;
    END IF;
    IF is_known AND NOT is_marked THEN
        SELECT h.* INTO hold FROM billing.holds AS h WHERE h.key = as_key;
        IF FOUND AND hold.state <> 'held' THEN
            -- "held" would let work begin for which no credits are reserved.
            RETURN QUERY SELECT 'refused', hold.credits::bigint, NULL::bigint, 'HoldEnded',
                                NULL::timestamptz;
        ELSIF FOUND THEN
            RETURN QUERY SELECT 'held', hold.credits::bigint, NULL::bigint, NULL::text,
                                hold.expires_at;
        ELSE
            RETURN QUERY SELECT 'refused', (r.facts ->> 'needed')::bigint,
                                (r.facts ->> 'available')::bigint, r.reason, NULL::timestamptz
                         FROM billing.refusals AS r
                         WHERE r.key = p_key AND r.account_id = p_account_id LIMIT 1;
        END IF;
        RETURN;
    END IF;
    SELECT w.is_allowed, w.reason INTO access
    FROM billing.account_access AS w WHERE w.account_id = p_account_id;
    IF access.is_allowed IS NOT TRUE THEN
        -- The key stays free, for access may come back. `billing.access` has the cause in detail.
        RETURN QUERY SELECT 'refused', 0::bigint, 0::bigint,
            CASE access.reason
                WHEN 'deleted' THEN 'AccountDeleted'
                WHEN 'cancelled' THEN 'AccountCancelled'
                WHEN 'no_plan' THEN 'NoPlan'
                WHEN 'plan_inactive' THEN 'PlanInactive'
                WHEN 'unknown_status' THEN 'UnknownStatus'
                ELSE 'AccountSuspended'
            END, NULL::timestamptz;
        RETURN;
    END IF;
    cost := billing.price_of(p_operation, p_units, p_now);
    IF cost IS NULL THEN
        RETURN QUERY SELECT 'refused', 0::bigint, 0::bigint, 'UnknownOperation', NULL::timestamptz;
        RETURN;
    END IF;
    PERFORM billing.open_book(p_account_id, p_now);
    SELECT c.credits INTO cap FROM billing.spend_caps AS c WHERE c.account_id = p_account_id;
    SELECT CASE WHEN b.spent_since = date_trunc('month', p_now, 'UTC') THEN b.spent ELSE 0 END
           + b.held::bigint - billing.frozen(p_account_id), b.debt INTO spent, owed
    FROM billing.books AS b WHERE b.account_id = p_account_id;
    SELECT greatest(COALESCE(sum(l.remaining - l.held), 0) - owed, 0) INTO room
    FROM billing.lots AS l
    WHERE l.account_id = p_account_id AND l.is_open
      AND COALESCE(l.starts_at, p_now) <= p_now AND COALESCE(l.expires_at, 'infinity') > p_now;
    IF cost > room AND EXISTS (SELECT FROM billing.credit_calendars AS c
                               WHERE c.account_id = p_account_id AND c.ended_at IS NULL
                                 AND c.next_due_at <= p_now) THEN
        -- The next sweep grants the new period's credits: a final refusal would be premature.
        RETURN QUERY SELECT 'refused', cost, room, 'RenewalDue', NULL::timestamptz;
        RETURN;
    END IF;
    IF is_marked THEN
        DELETE FROM billing.keys AS k WHERE k.key = as_key AND k.content = 0;
    END IF;
    INSERT INTO billing.keys (key, content) VALUES (as_key, asked) ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        -- Another account is using this key right now, and we do not hold its lock.
        RETURN QUERY SELECT 'refused', 0::bigint, 0::bigint, 'KeyReused', NULL::timestamptz;
        RETURN;
    END IF;
    IF cost > room OR spent + cost > cap THEN
        INSERT INTO billing.refusals (account_id, key, operation, units, reason, facts, happened_at,
                                      recorded_at)
        VALUES (p_account_id, p_key, p_operation, p_units,
                CASE WHEN cost > room THEN 'InsufficientCredits' ELSE 'SpendCapReached' END,
                jsonb_build_object('needed', cost, 'available',
                    CASE WHEN cost > room THEN room ELSE greatest(cap - spent, 0) END),
                p_now, p_now);
        RETURN QUERY SELECT 'refused', cost, room,
            CASE WHEN cost > room THEN 'InsufficientCredits' ELSE 'SpendCapReached' END,
            NULL::timestamptz;
        RETURN;
    END IF;
    left_to_hold := cost;
    FOR lot IN
        SELECT l.id, l.remaining - l.held AS free FROM billing.lots AS l
        WHERE l.account_id = p_account_id AND l.is_open AND l.remaining > l.held
          AND COALESCE(l.starts_at, p_now) <= p_now AND COALESCE(l.expires_at, 'infinity') > p_now
        ORDER BY l.priority, l.expires_at NULLS LAST, l.is_promotional DESC, l.id
    LOOP
        EXIT WHEN left_to_hold = 0;
        taken := least(lot.free, left_to_hold);
        UPDATE billing.lots SET held = lots.held + taken WHERE lots.id = lot.id;
        from_lots := from_lots || jsonb_build_array(jsonb_build_array(lot.id, taken));
        left_to_hold := left_to_hold - taken;
    END LOOP;
    UPDATE billing.books SET held = books.held + cost WHERE books.account_id = p_account_id;
    INSERT INTO billing.holds (key, key_text, account_id, operation, units, credits, lots,
                               placed_at, expires_at)
    VALUES (as_key, p_key, p_account_id, p_operation, p_units, cost, from_lots, p_now,
            p_now + make_interval(secs => p_ttl_s));
    RETURN QUERY SELECT 'held', cost, room - cost, NULL::text,
                        p_now + make_interval(secs => p_ttl_s);
END $$;
REVOKE ALL ON FUNCTION billing.place_hold(bigint, text, int, text, int, timestamptz) FROM PUBLIC;
DO $$
DECLARE
    role text;
BEGIN
    FOR role IN SELECT name FROM billing.allowed_roles LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION billing.place_hold(bigint, text, int, text, int,'
            ' timestamptz) TO %I', role);
    END LOOP;
END $$;

ALTER FUNCTION billing.key_uuid(text) RESET search_path;
ALTER FUNCTION billing.content_digest(text[]) RESET search_path;
ALTER FUNCTION billing.price_of(text, int, timestamptz) RESET search_path;
ALTER FUNCTION billing.take_inbox(bigint[], int) RESET search_path;
ALTER FUNCTION billing.inbox_has_earlier(bigint[], bigint[]) RESET search_path;
ALTER FUNCTION billing.inbox_is_drained(bigint) RESET search_path;
ALTER FUNCTION billing.refuse_bank_change() RESET search_path;
ALTER FUNCTION billing.frozen(bigint) RESET search_path;
ALTER FUNCTION billing.open_book(bigint, timestamptz) RESET search_path;
ALTER FUNCTION billing.access(bigint, text) SET search_path = public, pg_temp;
ALTER FUNCTION billing.remember_price() SET search_path = public, pg_temp;
ALTER FUNCTION billing.remember_status() SET search_path = pg_catalog, pg_temp;
ALTER FUNCTION billing.refuse_ledger_change() RESET search_path;
GRANT EXECUTE ON FUNCTION
    billing.key_uuid(text),
    billing.content_digest(text[]),
    billing.price_of(text, int, timestamptz),
    billing.take_inbox(bigint[], int),
    billing.inbox_has_earlier(bigint[], bigint[]),
    billing.inbox_is_drained(bigint),
    billing.refuse_bank_change(),
    billing.refuse_ledger_change()
TO PUBLIC;
DO $$
BEGIN
    EXECUTE (SELECT string_agg(format('GRANT EXECUTE ON FUNCTION %s TO PUBLIC',
                                      f.oid::regprocedure), '; ')
             FROM pg_proc AS f WHERE f.pronamespace = 'billing'::regnamespace
               AND f.proname IN ('locked_books', 'write_books'));
END $$;
DROP TABLE billing.repairs;
DROP TABLE billing.allowed_roles;
