"""Results for people and machines: console, JSON, JUnit XML, HTML."""
