"""Where sessions are kept: the interface, its implementations, and the factory that chooses one by address."""
