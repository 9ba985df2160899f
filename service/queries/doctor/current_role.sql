SELECT current_user::text AS name
