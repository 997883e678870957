"""From the record of a call to a verdict in words: what was lost, what was called twice, how long answers took. Sans-IO."""
