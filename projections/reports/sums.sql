-- What left lots and came back to them, by lot and by what it was: before a period, within it, and after it.
SELECT
    lot, type, cause, effective_at >= %(start)s AS begun, effective_at <= %(end)s AS counts,
    sum(amount)::numeric(38, 9) AS amount, max(position) AS position,
    min(recorded_at) AS first_recorded_at
FROM ({moved}) AS moved
WHERE amount IS NOT NULL AND type <> 'ledger.granted'
GROUP BY lot, type, cause, begun, counts
