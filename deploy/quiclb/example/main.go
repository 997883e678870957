// Command spp is a backend for quiclb in as few lines as Go allows: the Simple Proxy Protocol on a net.PacketConn, which a
// QUIC library can serve on, routable connection IDs, and answers to health probes. In place of QUIC it answers every
// short-header packet of its own with the client's address. What it must keep to is in ../backends.md.
package main

import (
	"crypto/aes"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"flag"
	"fmt"
	"log"
	"net"
	"net/netip"
	"time"
)

const headerBytes = 38

// Client is where a datagram came from: the client that the SPP header names. Replies carry the header unchanged and go to
// the load balancer that sent it, so nothing is kept here for a client.
type Client struct {
	netip.AddrPort
	header   [headerBytes]byte
	balancer netip.AddrPort
}

func (Client) Network() string { return "udp" }

// Conn strips SPP headers from what load balancers send, and puts them back in front of replies. It embeds nothing: a QUIC
// library that found the methods of net.UDPConn would go past ReadFrom and WriteTo.
type Conn struct {
	udp     *net.UDPConn
	trusted map[netip.Addr]bool
}

// ReadFrom returns the next client's datagram. SPP headers from other senders than the load balancers are ignored; their
// ports do not matter, as health probes come from a port of their own.
func (c *Conn) ReadFrom(p []byte) (int, net.Addr, error) {
	buffer := make([]byte, len(p)+headerBytes)
	for {
		n, from, err := c.udp.ReadFromUDPAddrPort(buffer)
		if err != nil {
			return 0, nil, err
		}
		if !c.trusted[from.Addr().Unmap()] || n <= headerBytes || binary.BigEndian.Uint16(buffer) != 0x56EC {
			continue
		}
		client := Client{header: [headerBytes]byte(buffer[:headerBytes]), balancer: from}
		ip := netip.AddrFrom16([16]byte(buffer[2:18])).Unmap() // IPv4 is IPv4-mapped
		client.AddrPort = netip.AddrPortFrom(ip, binary.BigEndian.Uint16(buffer[34:36]))
		return copy(p, buffer[headerBytes:n]), client, nil
	}
}

// WriteTo sends to a client that ReadFrom returned, from the address that ReadFrom receives on: the registered one.
func (c *Conn) WriteTo(p []byte, to net.Addr) (int, error) {
	client, ok := to.(Client)
	if !ok {
		return 0, fmt.Errorf("no client of a load balancer: %v", to)
	}
	_, err := c.udp.WriteToUDPAddrPort(append(client.header[:], p...), client.balancer)
	return len(p), err
}

func (c *Conn) Close() error                       { return c.udp.Close() }
func (c *Conn) LocalAddr() net.Addr                { return c.udp.LocalAddr() }
func (c *Conn) SetDeadline(t time.Time) error      { return c.udp.SetDeadline(t) }
func (c *Conn) SetReadDeadline(t time.Time) error  { return c.udp.SetReadDeadline(t) }
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.udp.SetWriteDeadline(t) }

// ConnectionID encodes a server ID for single-pass configs: server ID and nonce are one AES-128 block. A nonce must never
// be used twice under a key, not after a restart either: count up from a random start, or draw 8 random bytes and more.
func ConnectionID(configID byte, serverID, nonce, key []byte) ([]byte, error) {
	plaintext := append(append([]byte{}, serverID...), nonce...)
	block, err := aes.NewCipher(key)
	if err != nil || len(key) != 16 || len(plaintext) != 16 || configID > 6 {
		return nil, fmt.Errorf("want a config ID of 0 to 6, server ID and nonce of 16 bytes together, a key of 16")
	}
	id := append([]byte{configID<<5 | 16}, make([]byte, 16)...) // the low bits say how many bytes follow
	block.Encrypt(id[1:], plaintext)
	return id, nil
}

// versionNegotiation answers a long header of a version that is not served (RFC 9000 section 6), as health probes are.
func versionNegotiation(packet []byte) []byte {
	if len(packet) < 1200 || packet[0]&0x80 == 0 {
		return nil
	}
	scidAt := 6 + int(packet[5])
	end := scidAt + 1 + int(packet[min(scidAt, len(packet)-1)])
	version := binary.BigEndian.Uint32(packet[1:])
	if end > len(packet) || version == 0 || version == 1 {
		return nil
	}
	answer := append([]byte{0xC0, 0, 0, 0, 0}, packet[scidAt:end]...) // its source is our destination
	answer = append(answer, packet[5:scidAt]...)
	return append(answer, 0, 0, 0, 1) // QUIC version 1 is served
}

func main() {
	listen := flag.String("listen", "127.0.0.1:4433", "the address that the [[backend]] entry has")
	balancer := flag.String("balancer", "127.0.0.1", "the IP address of the load balancer's inner side")
	serverID := flag.String("server-id", "00000001", "the server ID of the [[backend]] entry")
	key := flag.String("key", "", "the key of the [[config]], 32 hexadecimal digits")
	nonce := flag.String("nonce", "", "for tests: this nonce in place of a random one")
	flag.Parse()

	udp, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(*listen)))
	if err != nil {
		log.Fatal(err)
	}
	conn := &Conn{udp, map[netip.Addr]bool{netip.MustParseAddr(*balancer): true}}
	server, serverErr := hex.DecodeString(*serverID)
	secret, keyErr := hex.DecodeString(*key)
	fresh, nonceErr := hex.DecodeString(*nonce)
	if serverErr != nil || keyErr != nil || nonceErr != nil || len(server) > 12 {
		log.Fatal("server ID, key and nonce are hexadecimal digits, the server ID at most 24")
	}
	if len(fresh) == 0 {
		fresh = make([]byte, 16-len(server))
		if _, err := rand.Read(fresh); err != nil {
			log.Fatal(err)
		}
	}
	id, err := ConnectionID(0, server, fresh, secret)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(conn.LocalAddr(), hex.EncodeToString(id))

	buffer := make([]byte, 2048)
	for {
		n, client, err := conn.ReadFrom(buffer)
		if err != nil {
			log.Fatal(err)
		}
		reply := versionNegotiation(buffer[:n])
		if n >= 1+len(id) && string(buffer[1:1+len(id)]) == string(id) && buffer[0]&0x80 == 0 {
			reply = []byte("@ for " + client.String())
		}
		if reply != nil {
			if _, err := conn.WriteTo(reply, client); err != nil {
				log.Print(err)
			}
		}
	}
}
