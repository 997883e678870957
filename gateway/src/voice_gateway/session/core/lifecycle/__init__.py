"""How a session begins, which states it has, and how it ends. Sans-IO."""
