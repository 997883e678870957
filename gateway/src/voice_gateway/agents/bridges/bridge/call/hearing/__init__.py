"""What the caller says: its audio, and the turns whose words are awaited."""
