-- The last definition of each.
INSERT INTO {table} (configuration, holder, currency, settings, done, created_at, saved_at)
SELECT DISTINCT ON (stream_id)
    stream_id, holder, currency, definition -> 'settings', definition -> 'done',
    (definition ->> 'created_at')::timestamptz, (definition ->> 'saved_at')::timestamptz
FROM movements
WHERE position > %(after)s AND position <= %(until)s AND type = 'ledger.auto-recharge-defined'
ORDER BY stream_id, position DESC
ON CONFLICT (configuration) DO UPDATE SET
    settings = excluded.settings, done = excluded.done, saved_at = excluded.saved_at
