"""How well the order agent understands unknown speakers, with and without lost audio."""
