"""One call: what the caller says, plays and does, and the record of it."""
