-- The last definition of each; `position` stays that of the first.
INSERT INTO {table} (schedule, holder, currency, resource, plan, document_id, position)
SELECT DISTINCT ON (stream_id)
    stream_id, holder, currency, resource, definition -> 'plan', document_id,
    min(position) OVER (PARTITION BY stream_id)
FROM movements
WHERE position > %(after)s AND position <= %(until)s AND type = 'ledger.grant-schedule-defined'
ORDER BY stream_id, movements.position DESC
ON CONFLICT (schedule) DO UPDATE SET plan = excluded.plan, document_id = excluded.document_id
