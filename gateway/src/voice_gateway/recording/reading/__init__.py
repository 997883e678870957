"""From the segments of a call to its timeline, its two tracks, and what is shown of it."""
