"""A caller and a server in network namespaces, and between them a link that this process emulates.

Real programs over the kernel's own TCP and UDP meet the delay, jitter, loss, reordering, rate and queue of a
`testbed.simnet.links.Profile`, drawn from a seed; blackouts, NAT rebinding and a change of the caller's network happen
on command. Needs root, `ip`, and /dev/net/tun: `is_possible` says whether they are here.

    path = LinkPath(up=Profile(delay_s=0.05, loss=0.01), down=Profile(delay_s=0.05), seed=7)
    async with EmulatedLink(path) as link:
        server = await link.server.start(sys.executable, "-m", "my_server", link.server.address)
        caller = await link.caller.start(sys.executable, "-m", "my_caller", link.server.address)
        link.black_out(0.2)        # nothing passes for 0.2 s
        link.rebind()              # the NAT gives each flow of the caller a new port (needs has_nat=True)
        await link.change_network()  # the caller's first address is gone, its second one is there
"""

from testbed.link.emulator import CALLER, CALLER_AFTER_CHANGE, SERVER, EmulatedLink, LinkPath
from testbed.link.namespace import Namespace, is_possible

__all__ = ["CALLER", "CALLER_AFTER_CHANGE", "SERVER", "EmulatedLink", "LinkPath", "Namespace", "is_possible"]
