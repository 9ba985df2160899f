-- Some accepted keys, as an array of their lines. Many at once go in by COPY, with the same columns in the same order.
INSERT INTO idempotency (holder, key, operation, kind, body, normaliser_version, transaction_id, position)
SELECT * FROM unnest(%s::key_line[])
