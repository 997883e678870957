"""The other side of a telephone call, for people without an account and for the tests."""
