-- Where the log ends and which epoch it is of.
SELECT coalesce(max(movements.position), 0) AS head, (SELECT epoch FROM log_meta) AS epoch
FROM movements
