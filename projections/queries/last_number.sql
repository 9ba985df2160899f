SELECT coalesce(max(number), 0) AS number FROM projections WHERE name = %(name)s
