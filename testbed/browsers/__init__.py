"""Real browsers, of this machine, in a network namespace where asked for."""
