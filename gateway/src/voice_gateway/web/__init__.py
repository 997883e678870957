"""HTTP/1.1 and WebSocket over TCP or TLS, for callers without UDP and for telephone networks."""
