UPDATE projections SET stage = 'kept', replaced_by = %(shadow)s
WHERE name = %(name)s AND version = %(live)s AND stage = 'serving'
