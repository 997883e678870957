"""Recorded inputs with their times, and the outputs that both clients must give: JSON, one file for each part.

`python -m tests.vectors.traces.generate` writes them; pytest (`tests/unit/voice_client/test_traces.py`) and vitest
(`client/web/src/testing/traces.test.ts`) read them. Times are in ms from the beginning of the trace.
"""
