-- The pools whose automatic recharge is enabled, by the last word on each; of some claims, or of all.
SELECT last.kind, last.holder, last.currency, last.resource
FROM claims AS configuration
CROSS JOIN LATERAL (
    SELECT * FROM events WHERE stream_id = configuration.stream_id ORDER BY version DESC LIMIT 1
) AS last
WHERE configuration.kind = 'AUTO_RECHARGE'
    AND (%(claims)s::text[] IS NULL OR configuration.value = ANY (%(claims)s::text[]))
    AND last.data #>> '{settings,enabled}' = 'true'
