-- How many events of each type a stretch of the log has, and the credits that they moved.
SELECT kind, currency, type, count(*) AS rows, sum(amount) AS amount
FROM events
WHERE position > %(after)s::bigint AND position <= %(until)s::bigint
GROUP BY kind, currency, type
