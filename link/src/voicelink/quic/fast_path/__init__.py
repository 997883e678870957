"""The short way of a steady connection's packets; anything unusual is left to aioquic, and nothing changed before.

A connection is steady while nothing is due but ACK, STREAM and DATAGRAM frames on one validated path. Each part is made
anew when that begins, and holds what stays the same until it ends. Without these parts the connection looks at each
datagram anew whether it is steady. Both ways give equal events, packets and state, which
tests/property/voicelink/test_fast_path.py compares.
"""
