"""What a session reports to operators, to those who watch it, and to its recording."""
