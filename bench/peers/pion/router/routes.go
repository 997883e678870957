package main

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
)

const (
	redisTimeout = 300 * time.Millisecond
	routeKept    = 10 * time.Minute
)

// routes is the map in Redis: "ufrag:" and a server's ICE username fragment lead to a backend, "flow:" and a client's
// address to a backend and the router's port towards it. What was looked up by ufrag is remembered for a while, so that
// a client that moves needs no Redis.
type routes struct {
	redis *redis.Client
	mutex sync.Mutex
	known map[string]route
}

type route struct {
	backend netip.AddrPort
	until   time.Time
}

func newRoutes(address string) *routes {
	redis.SetLogger(&logging.VoidLogger{})
	return &routes{
		redis: redis.NewClient(&redis.Options{
			Addr: address, DialTimeout: redisTimeout, ReadTimeout: redisTimeout, WriteTimeout: redisTimeout,
			MaxRetries: -1, DialerRetries: 1, // the client's next binding request is the retry
		}),
		known: map[string]route{},
	}
}

// remembered is the backend of a username fragment that was looked up before.
func (r *routes) remembered(ufrag string) (netip.AddrPort, bool) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	found, ok := r.known[ufrag]
	return found.backend, ok
}

// lookUp asks Redis for the backend of a username fragment; the error is Redis's, also where there is none.
func (r *routes) lookUp(ufrag string) (netip.AddrPort, error) {
	text, err := r.redis.Get(context.Background(), "ufrag:"+ufrag).Result()
	if err != nil {
		return netip.AddrPort{}, err
	}
	backend, err := netip.ParseAddrPort(text)
	if err == nil {
		r.mutex.Lock()
		r.known[ufrag] = route{backend, time.Now().Add(routeKept)}
		r.mutex.Unlock()
	}
	return backend, err
}

// flow asks Redis for what a router before this one had saved of a client.
func (r *routes) flow(client netip.AddrPort) (backend netip.AddrPort, port int, err error) {
	text, err := r.redis.Get(context.Background(), "flow:"+client.String()).Result()
	if err != nil {
		return backend, 0, err
	}
	address, number, _ := strings.Cut(text, " ")
	if backend, err = netip.ParseAddrPort(address); err == nil {
		port, err = strconv.Atoi(number)
	}
	return backend, port, err
}

// saveFlow is best effort: without it a restarted router waits for the next binding request.
func (r *routes) saveFlow(f *flow) {
	_ = r.redis.Set(context.Background(), "flow:"+f.client.String(), fmt.Sprintf("%s %d", f.backend, f.port), flowKept).Err()
}

// forget drops what was looked up long ago.
func (r *routes) forget(now time.Time) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	for ufrag, found := range r.known {
		if now.After(found.until) {
			delete(r.known, ufrag)
		}
	}
}
