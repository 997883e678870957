"""The worker's side: an agent whose conversations are held by hosts."""
