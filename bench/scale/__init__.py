"""A model of up to a million sessions, made of figures that were measured on one core, and checked against runs."""
