DELETE FROM projections WHERE name = %(name)s AND version = %(version)s AND stage = %(stage)s
