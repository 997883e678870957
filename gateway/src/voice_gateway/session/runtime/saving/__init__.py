"""The session record in the store: which worker owns it, and what becomes of it."""
