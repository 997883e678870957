"""One call of a pipeline: its turns, its replies, what of it is saved, and what its client gives it."""
