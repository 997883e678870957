"""Drivers of voice-eval whose clients come with the frameworks."""
