"""What both ends need beside QUIC to deal with the network. Sans-IO."""
