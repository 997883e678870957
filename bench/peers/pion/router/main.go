// A UDP load balancer for WebRTC with a routing map in Redis, as media relays are built: the first STUN binding request
// of a client names the server's ICE username fragment (RFC 8445, 7.2.2), Redis names its backend, and from then on a
// flow of the client's address leads there. A restarted router or a client at a new address is looked up again.
//
// router LISTEN REDIS stun|flows
//
// With "flows" each flow is in Redis too, so that a restarted router need not wait for the next binding request.
// It prints "ready" once it forwards.
package main

import (
	"fmt"
	"net/netip"
	"os"
)

func main() {
	if len(os.Args) != 4 || (os.Args[3] != "stun" && os.Args[3] != "flows") {
		fmt.Fprintln(os.Stderr, "usage: router LISTEN REDIS stun|flows")
		os.Exit(2)
	}
	listen, err := netip.ParseAddrPort(os.Args[1])
	check(err)
	router, err := newRouter(listen, newRoutes(os.Args[2]), os.Args[3] == "flows")
	check(err)
	go router.fromBackends()
	go router.sweep()
	fmt.Println("ready")
	router.fromClients()
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
