SELECT position, error FROM projections WHERE name = %(name)s AND version = %(version)s
