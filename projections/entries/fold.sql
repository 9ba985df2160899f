-- Movements, and the events by which a grant becomes another. What rolled over is a list of its own. Holder by
-- holder, so that each page of the index is written to once for a window.
INSERT INTO {table} (kind, holder, resource, currency, type, position)
SELECT
    kind, holder, coalesce(resource, ''), currency,
    CASE WHEN type = 'ledger.expired' AND cause = 'ROLLED_OVER' THEN 'ledger.rolled-over' ELSE type END,
    position
FROM movements
WHERE position > %(after)s AND position <= %(until)s AND lot IS NOT NULL
ORDER BY holder, position
