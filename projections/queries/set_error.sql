UPDATE projections SET position = %(until)s, error = %(error)s, error_position = %(error_position)s
WHERE name = %(name)s AND version = %(version)s AND position = %(after)s
