"""The parts that a QUIC connection is composed of; the engine calls each by name with what it needs."""
