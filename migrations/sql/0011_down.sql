DROP FUNCTION billing.inbox_is_drained(bigint);
DROP FUNCTION billing.inbox_has_earlier(bigint[], bigint[]);
DROP FUNCTION billing.take_inbox(bigint[], int);
DROP FUNCTION billing.write_books(
    bigint[], int[], int[], bigint[], int[], int[], int[], int[], int[], timestamptz[], bytea[],
    int[]
);
DROP FUNCTION billing.locked_books(bigint[], timestamptz);
