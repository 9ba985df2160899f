INSERT INTO idempotency (holder, key, operation, kind, body, normaliser_version, transaction_id, position)
SELECT
    row ->> 0, row ->> 1, row ->> 2, row ->> 3, row ->> 4, (row ->> 5)::smallint, (row ->> 6)::uuid, (row ->> 7)::bigint
FROM jsonb_array_elements(%s::jsonb) AS row
