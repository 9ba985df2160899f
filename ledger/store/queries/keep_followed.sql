-- Several processes may follow; what one of them has seen to the end, all have.
INSERT INTO followed (reactor, position) VALUES (%(reactor)s, %(position)s)
ON CONFLICT (reactor) DO UPDATE SET position = excluded.position WHERE followed.position < excluded.position
