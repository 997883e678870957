"""The workers as processes: what is said to them, how they are started and followed, and what they run."""
