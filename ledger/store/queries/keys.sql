-- The keys of a batch that are taken already. Asked for one by one through the index, however many there are.
SELECT
    taken.operation, taken.kind, taken.holder, taken.key,
    taken.body, taken.normaliser_version, taken.transaction_id, taken.position
FROM jsonb_array_elements(%s::jsonb) AS wanted
JOIN idempotency AS taken
    ON taken.holder = wanted ->> 0 AND taken.key = wanted ->> 1
    AND taken.operation = wanted ->> 2 AND taken.kind = wanted ->> 3
