DROP VIEW billing.retention_over;
DROP VIEW billing.plan_limits_exceeded;
DROP FUNCTION billing.access(bigint, text);
DROP VIEW billing.site_access;
DROP VIEW billing.account_access;
DROP TABLE billing.closures, billing.limit_breaches, billing.dunning_steps, billing.dunning_cases,
    billing.trial_confirmations, billing.trial_identities, billing.trial_reminders, billing.trials;
ALTER TABLE billing.plan_policies DROP COLUMN trial_days;
DROP INDEX billing.outbox_kept_idx, billing.outbox_dead_idx, billing.outbox_order_idx,
    billing.outbox_due_idx;
ALTER TABLE billing.outbox DROP COLUMN state, DROP COLUMN sent_to, DROP COLUMN recipient,
    DROP COLUMN error, DROP COLUMN closed_by;
CREATE INDEX outbox_due_idx ON billing.outbox (due_at, id) WHERE delivered_at IS NULL;
