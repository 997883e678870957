"""What a call says: replies, a phrase for those who wait, hold audio."""
