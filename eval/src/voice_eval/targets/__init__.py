"""What is evaluated: a server by its URL, an agent on a cluster of the tool's own, or a program that it starts."""
