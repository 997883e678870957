"""Agent hosts: processes of their own that hold agents, and the workers that dial them.

The protocol is `gateway/docs/hosts.md`.
"""
