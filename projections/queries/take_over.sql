UPDATE projections SET stage = 'serving', replaced_by = NULL
WHERE name = %(name)s AND version = %(shadow)s AND position = %(position)s
