"""The load balancer as several processes: a supervisor that holds the sockets, and processes that forward.

The supervisor binds one pair of sockets for each forwarding process (SO_REUSEPORT: the kernel deals flows out among
them) and hands them down. No process knows anything that another lacks, so any of them may be killed: its sockets and
what waits in their queues go to a spare process, which is already running and has the table built.
"""
