"""What a caller says and does, and what must come of it: the model, and the YAML files that it is read from."""
