SELECT position FROM projections WHERE name = %(name)s AND version = %(version)s
