"""Contract suites for parts that users bring. They need pytest and nothing else of the tests."""
