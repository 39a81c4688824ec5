-- Keys, prices, books and holds in SQL: what the main app calls on its own connection.

CREATE FUNCTION billing.key_uuid(p_key text) RETURNS uuid
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    -- The same as billing.keys.as_uuid: a canonical UUID as it is, else a version 8 UUID of SHA-256.
    SELECT CASE
        WHEN p_key ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN p_key::uuid
        ELSE (substr(h, 1, 12) || '8' || substr(h, 14, 3)
              || to_hex((('x' || substr(h, 17, 1))::bit(4)::int & 3) | 8) || substr(h, 18))::uuid
    END
    FROM (SELECT substr(encode(sha256(convert_to(p_key, 'UTF8')), 'hex'), 1, 32) AS h) AS hashed
$$;

CREATE FUNCTION billing.content_digest(VARIADIC p_parts text[]) RETURNS bigint
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    -- The same as billing.keys.digest.
    SELECT ('x' || substr(encode(sha256(convert_to(array_to_string(p_parts, chr(31)), 'UTF8')),
                                 'hex'), 1, 16))::bit(64)::bigint
$$;

CREATE FUNCTION billing.price_of(p_operation text, p_units int, p_at timestamptz) RETURNS bigint
LANGUAGE sql STABLE STRICT PARALLEL SAFE AS $$
    -- Credits, or null where the operation had no price at that time. The same as billing.prices.
    SELECT CASE
        WHEN NOT is_active THEN NULL
        WHEN is_fixed THEN credits_per_unit
        ELSE (p_units::bigint + units_per_price - 1) / units_per_price * credits_per_unit
    END
    FROM billing.prices
    WHERE operation = p_operation AND valid_from <= p_at
    ORDER BY valid_from DESC LIMIT 1
$$;

CREATE FUNCTION billing.remember_price() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
-- A price changed today does not re-price what happened yesterday: each change is a new version.
BEGIN
    IF TG_OP = 'DELETE' OR (TG_OP = 'UPDATE' AND NEW.operation <> OLD.operation) THEN
        -- Back to our default, the version that has always been, or off the book.
        INSERT INTO billing.prices (operation, valid_from, credits_per_unit, units_per_price,
                                    is_fixed, is_active)
        SELECT OLD.operation, now(), COALESCE(d.credits_per_unit, 0),
               COALESCE(d.units_per_price, 1), COALESCE(d.is_fixed, false), d.id IS NOT NULL
        FROM (SELECT 1) AS one
        LEFT JOIN billing.prices AS d
               ON d.operation = OLD.operation AND d.valid_from = '-infinity'
        ON CONFLICT (operation, valid_from) DO UPDATE
           SET credits_per_unit = excluded.credits_per_unit,
               units_per_price = excluded.units_per_price,
               is_fixed = excluded.is_fixed, is_active = excluded.is_active;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO billing.prices (operation, valid_from, credits_per_unit, units_per_price,
                                    is_fixed, is_active)
        VALUES (NEW.operation,
                -- A first price cures what was done without one.
                CASE WHEN EXISTS (SELECT FROM billing.prices AS p
                                  WHERE p.operation = NEW.operation)
                     THEN now() ELSE '1970-01-01Z' END,
                NEW.credits_per_unit, NEW.units_per_price, NEW.is_fixed,
                NEW.is_active AND NEW.credits_per_unit >= 0 AND NEW.units_per_price >= 1)
        ON CONFLICT (operation, valid_from) DO UPDATE
           SET credits_per_unit = excluded.credits_per_unit,
               units_per_price = excluded.units_per_price,
               is_fixed = excluded.is_fixed, is_active = excluded.is_active;
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER billing_remember_price AFTER INSERT OR UPDATE OR DELETE
    ON public.igny8_credit_cost_configs FOR EACH ROW EXECUTE FUNCTION billing.remember_price();

CREATE FUNCTION billing.open_book(p_account_id bigint, p_now timestamptz) RETURNS void
LANGUAGE plpgsql AS $$
-- Adopt an account with the balance that the main app shows. The caller holds the account's lock.
DECLARE
    opening int;
    allowed int;
    lot_id bigint;
    opening_entry bigint;
    opening_key text := 'billing:opening:' || p_account_id;
BEGIN
    SELECT a.credits, COALESCE(p.debt_limit, 0) INTO STRICT opening, allowed
    FROM public.igny8_tenants AS a LEFT JOIN billing.plan_policies AS p ON p.plan_id = a.plan_id
    WHERE a.id = p_account_id;
    INSERT INTO billing.books (account_id, credits, debt, debt_limit, opened_at, opening_credits)
    VALUES (p_account_id, opening, greatest(-opening, 0), greatest(allowed, -opening), p_now,
            opening)
    ON CONFLICT DO NOTHING;
    IF NOT FOUND OR opening = 0 THEN
        RETURN;
    END IF;
    IF opening > 0 THEN
        INSERT INTO billing.lots (account_id, source, priority, is_promotional, granted, remaining,
                                  key, recorded_at)
        VALUES (p_account_id, 'opening_balance', 50, false, opening, opening, opening_key, p_now)
        RETURNING id INTO lot_id;
    END IF;
    INSERT INTO public.igny8_credit_transactions
        (tenant_id, type, amount, balance_after, description, created_at, idempotency_key, actor,
         happened_at, lots_used)
    VALUES (p_account_id, 'opening_balance', opening, opening, 'opening balance', p_now,
            opening_key, 'billing', p_now,
            CASE WHEN opening > 0 THEN jsonb_build_array(jsonb_build_array(lot_id, opening))
                 ELSE '[]'::jsonb END)
    RETURNING id INTO opening_entry;
    INSERT INTO billing.keys (key, content, entry_id)
    VALUES (billing.key_uuid(opening_key),
            billing.content_digest('opening', p_account_id::text, opening::text), opening_entry);
END $$;

CREATE FUNCTION billing.place_hold(
    p_account_id bigint, p_operation text, p_units int, p_key text,
    p_ttl_s int DEFAULT 900, p_now timestamptz DEFAULT clock_timestamp()
) RETURNS TABLE (outcome text, credits bigint, available bigint, reason text,
                 held_until timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
-- Set aside what an operation will cost, and answer at once: held or refused, and why.
-- Nothing is raised for what is wrong with the asking, for that would undo the caller's work.
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
            -- "Held" would let work begin that nothing is set aside for, and nothing would pay.
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
           + b.held::bigint, b.debt INTO spent, owed
    FROM billing.books AS b WHERE b.account_id = p_account_id;
    SELECT greatest(COALESCE(sum(l.remaining - l.held), 0) - owed, 0) INTO room
    FROM billing.lots AS l
    WHERE l.account_id = p_account_id AND l.remaining > 0
      AND COALESCE(l.starts_at, p_now) <= p_now AND COALESCE(l.expires_at, 'infinity') > p_now;
    IF cost > room AND EXISTS (SELECT FROM billing.credit_calendars AS c
                               WHERE c.account_id = p_account_id AND c.ended_at IS NULL
                                 AND c.next_due_at <= p_now) THEN
        -- The next sweep brings the new period's credits: a no for good would be too early.
        RETURN QUERY SELECT 'refused', cost, room, 'RenewalDue', NULL::timestamptz;
        RETURN;
    END IF;
    INSERT INTO billing.keys (key, content) VALUES (as_key, asked) ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        -- Claimed at this moment for another account, whose lock we do not hold.
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
        WHERE l.account_id = p_account_id AND l.remaining > l.held
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

-- The main app's role gets what it calls by `billing allow-app ROLE`.
REVOKE ALL ON FUNCTION billing.place_hold(bigint, text, int, text, int, timestamptz) FROM PUBLIC;
REVOKE ALL ON FUNCTION billing.open_book(bigint, timestamptz) FROM PUBLIC;
REVOKE ALL ON FUNCTION billing.remember_price() FROM PUBLIC;
