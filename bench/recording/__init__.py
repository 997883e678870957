"""How true recordings are, and what they cost a worker."""
