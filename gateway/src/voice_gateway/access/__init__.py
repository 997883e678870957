"""Who may come in, and how much each may do: access tokens, origins, and limits for subjects and addresses."""
