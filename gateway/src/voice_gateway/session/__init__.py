"""Voice sessions: the rules (`session`, sans-IO), one in operation (`live`) and all of a worker (`manager`)."""
