"""The time that gateway, agent host and bridge add to a turn."""
