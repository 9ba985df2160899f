SELECT id, body FROM documents WHERE id = ANY (%(ids)s::uuid[])
