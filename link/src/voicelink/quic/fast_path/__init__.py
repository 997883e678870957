"""The short way of a steady connection's packets; anything unusual is left to aioquic, and nothing changed before.

A connection is steady while nothing is due but ACK, STREAM and DATAGRAM frames on one validated path: `steady_state.py`
holds that, `fast_path.py` finds it out. Both ways give equal events, packets and state, which
tests/property/voicelink/test_fast_path.py compares.
"""
