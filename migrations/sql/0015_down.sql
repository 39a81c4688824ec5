DROP TRIGGER billing_remember_status ON public.igny8_tenants;
DROP FUNCTION billing.remember_status();
DROP TABLE billing.status_writes;
DROP TABLE billing.debits_without_access;
