"""What all bridges have in common: the vendor's interface, the driver, audio positions, playback, tools and apology."""
