"""Datapaths move datagrams: see `base`. `forwarding_rules` holds the decisions of those that decide in Python."""
