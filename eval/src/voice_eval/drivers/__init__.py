"""Drivers: each calls one kind of server. Others come by the entry-point group `voice_eval.drivers`."""
