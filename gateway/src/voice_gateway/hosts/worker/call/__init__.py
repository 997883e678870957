"""One call whose agent is in a host: what outlasts the host, and where the call goes on."""
