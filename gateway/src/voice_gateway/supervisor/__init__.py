"""One machine without a load balancer: a supervisor that owns the sockets, and workers that serve calls.

The supervisor binds one UDP socket for each worker and one more, lets the kernel steer each datagram by the server ID
in its connection ID (`steering/`), and keeps a worker running on each but one (`fleet.py`). A worker is replaced by
starting the next one on the socket that is free; only when that one serves does the old one drain.
"""
