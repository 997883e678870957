package main

import (
	"context"
	"net"
	"regexp"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
)

const (
	registryTimeout = 300 * time.Millisecond
	registered      = 24 * time.Hour
)

var (
	iceUfrag  = regexp.MustCompile(`(?m)^a=ice-ufrag:(\S+)`)
	candidate = regexp.MustCompile(`(?m)^a=candidate:.*\n`)
)

// registry is a backend's side of the routing map: Redis learns which of the answers' username fragments are its own,
// and callers the router's address in place of the backend's. See router/routes.go.
type registry struct {
	redis           *redis.Client
	backend, public string
}

func newRegistry(address, backend, public string) *registry {
	client := redis.NewClient(&redis.Options{
		Addr: address, DialTimeout: registryTimeout, ReadTimeout: registryTimeout, WriteTimeout: registryTimeout,
		MaxRetries: -1, DialerRetries: 1, // save is called again
	})
	redis.SetLogger(&logging.VoidLogger{})
	return &registry{client, backend, public}
}

// withoutCandidates is the offer of a caller behind a NAT: it has addresses that no backend reaches.
func withoutCandidates(offer string) string { return candidate.ReplaceAllString(offer, "") }

// announce registers the answer and returns it with the router's address. Where Redis is away the answer is given all
// the same, and registered once Redis is back: the caller goes on sending binding requests meanwhile.
func (r *registry) announce(answer string) string {
	ufrag := iceUfrag.FindStringSubmatch(answer)[1]
	if r.save(ufrag) != nil {
		go func() {
			for r.save(ufrag) != nil {
				time.Sleep(registryTimeout)
			}
		}()
	}
	return strings.ReplaceAll(answer, inCandidate(r.backend), inCandidate(r.public))
}

func (r *registry) save(ufrag string) error {
	return r.redis.Set(context.Background(), "ufrag:"+ufrag, r.backend, registered).Err()
}

func inCandidate(address string) string {
	host, port, err := net.SplitHostPort(address)
	check(err)
	return " " + host + " " + port + " typ host"
}
