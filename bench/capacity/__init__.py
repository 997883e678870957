"""What a worker carries: CPU, memory, lateness and handshakes, beside another revision and beside other servers."""
