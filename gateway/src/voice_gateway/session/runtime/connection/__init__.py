"""How a caller reaches its session: one connection after the other, and the limits of each."""
