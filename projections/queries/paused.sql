SELECT FROM projection_pauses WHERE name = %(name)s
