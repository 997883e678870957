"""TLS 1.3 in QUIC: what aioquic's handshake lacks."""
