"""Which worker gets a datagram of the shared UDP port: decided in the kernel, by the server ID in the connection ID."""
