-- Whether the log goes on beyond where a read model stands.
SELECT EXISTS (
    SELECT FROM movements
    WHERE position > (SELECT position FROM projections WHERE name = %(name)s AND version = %(version)s)
) AS anything
