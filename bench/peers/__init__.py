"""The ways to carry a voice call that benchmarks compare: the gateway, a TLS WebSocket, and WebRTC by pion.

Each way is a server program and a caller program for the two ends of a `testbed.link.EmulatedLink`. A caller's script
is "setup" (one frame, its echo), "talk" (frames for so many seconds, echoed or acked) or "listen" (8 s of speech that
the server makes in 2 s). Both programs print times of the machine's monotonic clock, in seconds, as one line of JSON.
"""
