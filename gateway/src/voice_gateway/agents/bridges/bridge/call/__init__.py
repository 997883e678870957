"""The parts of one call: each owns one thing that a `BridgeConversation` follows."""
