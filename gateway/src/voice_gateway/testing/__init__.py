"""Contract suites for what others bring to the gateway; a test module of theirs subclasses one, and pytest runs it."""
