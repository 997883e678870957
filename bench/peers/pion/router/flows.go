package main

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/stun/v4"
	"golang.org/x/sys/unix"
)

const (
	flowKept      = time.Minute // of silence, as the peers of ../../../lb
	sweepEvery    = 15 * time.Second
	missKept      = 200 * time.Millisecond // no second question to Redis about a client that it does not know
	mostWaiting   = 4                      // datagrams of a client that wait for Redis
	mostLookups   = 10_000                 // clients that are being looked up or were not found
	mostDatagram  = 2048
	receiveBuffer = 4 << 20
)

// flow is a client's address, and the connected socket by which the backend knows it.
type flow struct {
	client, backend netip.AddrPort
	fd, port        int
	seen            atomic.Int64 // seconds since the epoch
}

// lookup is a client without a flow: datagrams wait for Redis, or are dropped until `missed` is old.
type lookup struct {
	waiting [][]byte
	missed  time.Time
}

type router struct {
	outer     *net.UDPConn
	routes    *routes
	saves     bool
	epoll     int
	mutex     sync.RWMutex
	byClient  map[netip.AddrPort]*flow
	bySocket  map[int32]*flow
	lookingUp map[netip.AddrPort]*lookup
}

func newRouter(listen netip.AddrPort, routes *routes, saves bool) (*router, error) {
	outer, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(listen))
	if err != nil {
		return nil, err
	}
	if err := outer.SetReadBuffer(receiveBuffer); err != nil {
		return nil, err
	}
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	return &router{
		outer: outer, routes: routes, saves: saves, epoll: epoll,
		byClient: map[netip.AddrPort]*flow{}, bySocket: map[int32]*flow{}, lookingUp: map[netip.AddrPort]*lookup{},
	}, err
}

// fromClients forwards what clients send, for ever.
func (r *router) fromClients() {
	buffer := make([]byte, mostDatagram)
	for {
		count, client, err := r.outer.ReadFromUDPAddrPort(buffer)
		if err != nil {
			continue // an ICMP error about an earlier datagram
		}
		r.mutex.RLock()
		known := r.byClient[client]
		r.mutex.RUnlock()
		if known != nil {
			known.send(buffer[:count])
		} else {
			r.take(client, buffer[:count])
		}
	}
}

// fromBackends forwards what backends answer, for ever.
func (r *router) fromBackends() {
	events, buffer := make([]unix.EpollEvent, 256), make([]byte, mostDatagram)
	for {
		count, err := unix.EpollWait(r.epoll, events, -1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			panic(err)
		}
		for _, event := range events[:max(0, count)] {
			r.mutex.RLock()
			known := r.bySocket[event.Fd]
			r.mutex.RUnlock()
			for known != nil {
				length, err := unix.Read(int(event.Fd), buffer)
				if err != nil {
					break // nothing more, or an ICMP error, which the read has cleared
				}
				_, _ = r.outer.WriteToUDPAddrPort(buffer[:length], known.client)
			}
		}
	}
}

func (f *flow) send(datagram []byte) {
	f.seen.Store(time.Now().Unix())
	_, _ = unix.Write(f.fd, datagram)
}

// take finds the backend of a client without a flow: by a binding request's username, or by the flow saved in Redis.
func (r *router) take(client netip.AddrPort, datagram []byte) {
	ufrag, isRequest := serverUfrag(datagram)
	if isRequest {
		if backend, ok := r.routes.remembered(ufrag); ok {
			r.open(client, backend, 0, [][]byte{datagram})
			return
		}
	} else if !r.saves {
		return
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	pending := r.lookingUp[client]
	if pending != nil && pending.missed.IsZero() {
		if len(pending.waiting) < mostWaiting {
			pending.waiting = append(pending.waiting, append([]byte{}, datagram...))
		}
		return
	}
	if pending == nil && len(r.lookingUp) >= mostLookups || pending != nil && !isRequest && time.Since(pending.missed) < missKept {
		return
	}
	r.lookingUp[client] = &lookup{waiting: [][]byte{append([]byte{}, datagram...)}}
	go r.lookUp(client, ufrag, isRequest)
}

func (r *router) lookUp(client netip.AddrPort, ufrag string, isRequest bool) {
	var backend netip.AddrPort
	var port int
	err := errors.New("not saved")
	if r.saves {
		backend, port, err = r.routes.flow(client)
	}
	if err != nil && isRequest {
		port = 0
		backend, err = r.routes.lookUp(ufrag)
	}
	r.mutex.Lock()
	pending := r.lookingUp[client]
	waiting := pending.waiting
	if err != nil {
		pending.waiting, pending.missed = nil, time.Now()
		r.mutex.Unlock()
		return
	}
	delete(r.lookingUp, client)
	r.mutex.Unlock()
	r.open(client, backend, port, waiting)
}

// open makes a flow and sends what waited for it; `port` is the one before a restart, by which the backend knows it.
func (r *router) open(client, backend netip.AddrPort, port int, waiting [][]byte) {
	fd, port, err := connected(backend, port)
	if err != nil {
		return
	}
	opened := &flow{client: client, backend: backend, fd: fd, port: port}
	opened.seen.Store(time.Now().Unix())
	r.mutex.Lock()
	if other := r.byClient[client]; other != nil { // opened meanwhile
		r.mutex.Unlock()
		_ = unix.Close(fd)
		opened = other
	} else {
		r.byClient[client], r.bySocket[int32(fd)] = opened, opened
		r.mutex.Unlock()
		check(unix.EpollCtl(r.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}))
		if r.saves {
			go r.routes.saveFlow(opened)
		}
	}
	for _, datagram := range waiting {
		opened.send(datagram)
	}
}

// connected is a socket to the backend from this port where it is free, and the port that it has.
func connected(backend netip.AddrPort, port int) (int, int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, 0, err
	}
	if unix.Bind(fd, &unix.SockaddrInet4{Port: port}) != nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{})
	}
	if err == nil {
		err = unix.Connect(fd, &unix.SockaddrInet4{Addr: backend.Addr().As4(), Port: int(backend.Port())})
	}
	if err == nil {
		var name unix.Sockaddr
		if name, err = unix.Getsockname(fd); err == nil {
			return fd, name.(*unix.SockaddrInet4).Port, nil
		}
	}
	_ = unix.Close(fd)
	return 0, 0, err
}

// sweep forgets flows that are silent, and saves again those that are not.
func (r *router) sweep() {
	for now := range time.Tick(sweepEvery) {
		r.routes.forget(now)
		oldest := now.Add(-flowKept).Unix()
		kept := []*flow{}
		r.mutex.Lock()
		for client, each := range r.byClient {
			if each.seen.Load() >= oldest {
				kept = append(kept, each)
				continue
			}
			delete(r.byClient, client)
			delete(r.bySocket, int32(each.fd))
			_ = unix.Close(each.fd) // which takes it out of epoll, too
		}
		for client, each := range r.lookingUp {
			if !each.missed.IsZero() && now.Sub(each.missed) > missKept {
				delete(r.lookingUp, client)
			}
		}
		r.mutex.Unlock()
		for _, each := range kept {
			if r.saves {
				r.routes.saveFlow(each)
			}
		}
	}
}

// serverUfrag is the first half of a binding request's USERNAME; false where the datagram is no such request.
func serverUfrag(datagram []byte) (string, bool) {
	if !stun.IsMessage(datagram) {
		return "", false
	}
	message := &stun.Message{Raw: datagram}
	var username stun.Username
	if message.Decode() != nil || message.Type != stun.BindingRequest || username.GetFrom(message) != nil {
		return "", false
	}
	ufrag, _, found := strings.Cut(username.String(), ":")
	return ufrag, found
}
