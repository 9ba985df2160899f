-- Few rows: one statement, its rows as JSON. Many rows go in by COPY with the same columns in the same order.
INSERT INTO events (
    position, transaction_last, stream_id, version, type, schema_version, transaction_id, recorded_at, actor_kind,
    actor_key, correlation_id, causation_id, effective_at, use_at, cause, kind, holder, currency, resource,
    grant_type, lot, amount, debit_id, account_groups, terms_version, lot_granted, lot_used, lot_balance,
    pool_balance, data
)
SELECT
    (row ->> 0)::bigint,
    (row ->> 1)::bigint,
    (row ->> 2)::uuid,
    (row ->> 3)::integer,
    row ->> 4,
    (row ->> 5)::smallint,
    (row ->> 6)::uuid,
    (row ->> 7)::timestamptz,
    row ->> 8,
    row ->> 9,
    row ->> 10,
    row ->> 11,
    (row ->> 12)::timestamptz,
    (row ->> 13)::timestamptz,
    row ->> 14,
    row ->> 15,
    row ->> 16,
    row ->> 17,
    row ->> 18,
    row ->> 19,
    (row ->> 20)::uuid,
    (row ->> 21)::numeric,
    (row ->> 22)::uuid,
    (row ->> 23)::text[],
    (row ->> 24)::integer,
    (row ->> 25)::numeric,
    (row ->> 26)::numeric,
    (row ->> 27)::numeric,
    (row ->> 28)::numeric,
    (row ->> 29)::jsonb
FROM jsonb_array_elements(%s::jsonb) AS row
