"""How well the order agent understands strangers, and what lost audio does to that."""
