"""Callers and echoing agents of frameworks for voice agents, which run in an environment of their own (`environment`).

Each program is called as those of `bench.peers`: `serve ADDRESS PORT CERTIFICATE KEY ...` echoes sound and prints, once
its input ends, when the first of it came; `call ADDRESS PORT CA SCRIPT COUNT SECONDS` places calls one after the other.
"""
