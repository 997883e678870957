"""Which callers are admitted: tokens and origins; how much each may do: limits of subjects and addresses."""
