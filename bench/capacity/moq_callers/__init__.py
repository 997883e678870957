"""Callers of Pipecat's MoQ transport: in Python, on moq-rs, commanded as `native/` is. They run in `.venv-agents`."""
