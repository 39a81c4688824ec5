-- The function by which the main app places a hold. Each migration that changes it runs this file.

CREATE OR REPLACE FUNCTION billing.frozen(p_account_id bigint) RETURNS bigint
LANGUAGE sql STABLE STRICT PARALLEL SAFE AS $$
    -- Credits frozen by open disputes: they are held, but not spent.
    SELECT COALESCE(sum(credits), 0) FROM billing.holds
    WHERE account_id = p_account_id AND state = 'held' AND starts_with(operation, 'billing:dispute')
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
    account record;
    hold billing.holds;
    lot record;
    as_key uuid := billing.key_uuid(p_key);
    asked bigint := billing.content_digest('hold', p_account_id::text, p_operation, p_units::text);
    known record;
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
    SELECT a.id, a.is_deleted INTO account
    FROM public.igny8_tenants AS a WHERE a.id = p_account_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN QUERY SELECT 'refused', 0::bigint, 0::bigint, 'UnknownAccount', NULL::timestamptz;
        RETURN;
    END IF;
    SELECT k.content, k.entry_id INTO known FROM billing.keys AS k WHERE k.key = as_key;
    IF FOUND AND known.content <> asked THEN
        RETURN QUERY SELECT 'refused', 0::bigint, 0::bigint, 'KeyReused', NULL::timestamptz;
        RETURN;
    END IF;
    IF FOUND THEN
        SELECT h.* INTO hold FROM billing.holds AS h WHERE h.key = as_key;
        IF FOUND AND hold.state <> 'held' THEN
            -- "held" would let work begin for which no credits are reserved.
            RETURN QUERY SELECT 'refused', hold.credits::bigint, NULL::bigint, 'HoldEnded',
                                NULL::timestamptz;
        ELSIF FOUND THEN
            RETURN QUERY SELECT 'held', hold.credits::bigint, NULL::bigint, NULL::text, hold.expires_at;
        ELSE
            RETURN QUERY SELECT 'refused', (r.facts ->> 'needed')::bigint,
                                (r.facts ->> 'available')::bigint, r.reason, NULL::timestamptz
                         FROM billing.refusals AS r WHERE r.key = p_key LIMIT 1;
        END IF;
        RETURN;
    END IF;
    cost := billing.price_of(p_operation, p_units, p_now);
    IF account.is_deleted OR cost IS NULL THEN
        RETURN QUERY SELECT 'refused', 0::bigint, 0::bigint,
            CASE WHEN account.is_deleted THEN 'AccountDeleted' ELSE 'UnknownOperation' END,
            NULL::timestamptz;
        RETURN;
    END IF;
    PERFORM billing.open_book(p_account_id, p_now);
    SELECT c.credits INTO cap FROM billing.spend_caps AS c WHERE c.account_id = p_account_id;
    SELECT CASE WHEN b.spent_since = date_trunc('month', p_now, 'UTC') THEN b.spent ELSE 0 END
           + b.held::bigint - billing.frozen(p_account_id), b.debt INTO spent, owed
    FROM billing.books AS b WHERE b.account_id = p_account_id;
    SELECT greatest(COALESCE(sum(l.remaining - l.held), 0) - owed, 0) INTO room
    FROM billing.lots AS l
    WHERE l.account_id = p_account_id AND l.remaining > 0
      AND COALESCE(l.starts_at, p_now) <= p_now AND COALESCE(l.expires_at, 'infinity') > p_now;
    IF cost > room AND EXISTS (SELECT FROM billing.credit_calendars AS c
                               WHERE c.account_id = p_account_id AND c.ended_at IS NULL
                                 AND c.next_due_at <= p_now) THEN
        -- The next sweep grants the new period's credits: a final refusal would be premature.
        RETURN QUERY SELECT 'refused', cost, room, 'RenewalDue', NULL::timestamptz;
        RETURN;
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
        WHERE l.account_id = p_account_id AND l.remaining > 0 AND l.remaining > l.held
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

-- `billing allow-app ROLE` grants the main app's role what it may call.
REVOKE ALL ON FUNCTION billing.frozen(bigint) FROM PUBLIC;
REVOKE ALL ON FUNCTION billing.place_hold(bigint, text, int, text, int, timestamptz) FROM PUBLIC;
