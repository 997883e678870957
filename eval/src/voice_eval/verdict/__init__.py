"""From the record of a call to a verdict: what was lost, called twice, and how long answers took. Sans-IO."""
