"""From words to what a customer means: the grammar of the menu, intents, and the parser between them. Sans-IO."""
