-- Those builds of a read model that cannot fold this event go on.
UPDATE projections SET error = NULL, error_position = NULL WHERE name = %(name)s AND error_position = %(position)s
