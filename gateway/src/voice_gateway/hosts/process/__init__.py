"""The host's side: a process that holds an agent, and whose calls workers open."""
