-- What was used of each pool, net.
SELECT
    kind, holder, currency, resource, count(*) AS number, -sum(amount)::numeric(38, 9) AS used,
    min(position) AS first, max(position) AS last
FROM ({uses}) AS uses
GROUP BY kind, holder, currency, resource
