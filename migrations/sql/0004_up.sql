-- Keys, prices, balances and holds in SQL, which the main app calls on its own connection.

CREATE FUNCTION billing.key_uuid(p_key text) RETURNS uuid
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    -- As in Python: a canonical UUID as it is, any other text as a version 8 UUID of its SHA-256.
    SELECT CASE
        WHEN p_key ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN p_key::uuid
        ELSE (substr(h, 1, 12) || '8' || substr(h, 14, 3)
              || to_hex((('x' || substr(h, 17, 1))::bit(4)::int & 3) | 8) || substr(h, 18))::uuid
    END
    FROM (SELECT substr(encode(sha256(convert_to(p_key, 'UTF8')), 'hex'), 1, 32) AS h) AS hashed
$$;

CREATE FUNCTION billing.content_digest(VARIADIC p_parts text[]) RETURNS bigint
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    -- The same digest as in Python.
    SELECT ('x' || substr(encode(sha256(convert_to(array_to_string(p_parts, chr(31)), 'UTF8')),
                                 'hex'), 1, 16))::bit(64)::bigint
$$;

CREATE FUNCTION billing.price_of(p_operation text, p_units int, p_at timestamptz) RETURNS bigint
LANGUAGE sql STABLE STRICT PARALLEL SAFE AS $$
    -- The cost in credits, as in Python; null if the operation had no price at that time.
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
-- Record each change of a price as a new version, so that it does not re-price earlier work.
BEGIN
    IF TG_OP = 'DELETE' OR (TG_OP = 'UPDATE' AND NEW.operation <> OLD.operation) THEN
        -- Back to our default, the first version; without one, the operation has no price.
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
                -- A first price also counts for work done before it.
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

-- `billing allow-app ROLE` grants the main app's role what it may call.
REVOKE ALL ON FUNCTION billing.open_book(bigint, timestamptz) FROM PUBLIC;
REVOKE ALL ON FUNCTION billing.remember_price() FROM PUBLIC;
