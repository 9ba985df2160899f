-- Where two builds stand, in one snapshot, beside the head of the log.
SELECT
    (SELECT position FROM projections WHERE name = %(name)s AND version = %(live)s AND stage = 'serving') AS live,
    (SELECT position FROM projections WHERE name = %(name)s AND version = %(shadow)s) AS shadow,
    coalesce((SELECT transaction_last FROM movements ORDER BY position DESC LIMIT 1), 0) AS head
