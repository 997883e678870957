"""The sessions at the vendor, one after the other."""
