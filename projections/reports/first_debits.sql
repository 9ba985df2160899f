-- The first few debits of each pool, in the order of the log.
SELECT kind, holder, currency, resource, debit_id, use_at FROM (
    SELECT
        kind, holder, currency, resource, debit_id, min(use_at) AS use_at, min(position) AS first,
        row_number() OVER (PARTITION BY kind, holder, currency, resource ORDER BY min(position)) AS place
    FROM ({uses}) AS uses
    GROUP BY kind, holder, currency, resource, debit_id
) AS debits
WHERE place <= %(leaves)s
ORDER BY first
