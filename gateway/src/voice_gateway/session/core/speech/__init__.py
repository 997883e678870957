"""Who speaks, what the agent says, and how much of it was played. Sans-IO."""
