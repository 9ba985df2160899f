SELECT min(due_at) AS due_at FROM due
