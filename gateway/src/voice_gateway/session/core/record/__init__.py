"""What of a session is saved, and what opens it to a caller who is back. Sans-IO."""
