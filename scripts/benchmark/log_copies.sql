-- Copies of a stretch of a log, transaction by transaction, so that the holders of all copies move side by side. Each
-- copy has holders, ids and names of its own, and its uses have instants of their own; all else is as it was written.
INSERT INTO events (
    position, transaction_last, stream_id, version, type, schema_version, transaction_id, recorded_at, actor_kind,
    actor_key, correlation_id, causation_id, effective_at, use_at, cause, kind, holder, currency, resource, grant_type,
    lot, amount, debit_id, account_groups, terms_version, lot_granted, lot_used, lot_balance, pool_balance, data
)
SELECT
    (first - 1) * %(copies)s::bigint + (copy.number - 1) * size + position - first + 1 AS position,
    (first - 1) * %(copies)s::bigint + copy.number * size,
    overlay(stream_id::text PLACING copy.mark FROM 21)::uuid, version, type, schema_version,
    overlay(transaction_id::text PLACING copy.mark FROM 21)::uuid, recorded_at, actor_kind, actor_key,
    correlation_id, causation_id,
    CASE WHEN effective_at = use_at THEN effective_at + copy.later ELSE effective_at END, use_at + copy.later,
    cause, kind, holder || '-' || copy.mark, currency, resource, grant_type,
    overlay(lot::text PLACING copy.mark FROM 21)::uuid, amount,
    overlay(debit_id::text PLACING copy.mark FROM 21)::uuid, account_groups, terms_version,
    lot_granted, lot_used, lot_balance, pool_balance,
    CASE WHEN data = jsonb_build_object() THEN data ELSE
        regexp_replace(
            regexp_replace(
                replace(data::text, '-000"', '-' || copy.mark || '"'), '"cg-...', '"cg-' || copy.mark
            ),
            '(-[89ab])[0-9a-f]+(-[^-"]+")', '\1' || copy.mark || '\2', 'g'
        )::jsonb
    END
FROM (
    SELECT
        *, min(position) OVER (PARTITION BY transaction_last) AS first,
        count(*) OVER (PARTITION BY transaction_last) AS size
    FROM {original} WHERE position > %(after)s AND position <= %(until)s
) AS original
CROSS JOIN (
    SELECT number, lpad(to_hex(number), 3, '0') AS mark, number * interval '1 microsecond' AS later
    FROM generate_series(1, %(copies)s) AS number
) AS copy
ORDER BY 1
