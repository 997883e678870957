"""Ways for datagrams to come in and go out; each runs a `DatapathHandler`, none decides anything."""
