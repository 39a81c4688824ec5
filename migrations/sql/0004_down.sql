DROP FUNCTION billing.place_hold(bigint, text, int, text, int, timestamptz);
DROP FUNCTION billing.frozen(bigint);
DROP FUNCTION billing.open_book(bigint, timestamptz);
DROP TRIGGER billing_remember_price ON public.igny8_credit_cost_configs;
DROP FUNCTION billing.remember_price();
DROP FUNCTION billing.price_of(text, int, timestamptz);
DROP FUNCTION billing.content_digest(text[]);
DROP FUNCTION billing.key_uuid(text);
