// A caller on webtransport-go that knows of the gateway what PROTOCOL.md says. It speaks a recording, hears the answers,
// says bye, and prints what happened as JSON. With -move it goes over to a second connection in the middle.
package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/quicvarint"
	"github.com/quic-go/webtransport-go"
)

const (
	pcm16At16k  = 2
	frameBytes  = 640 // 20 ms
	frameTicks  = 960
	interrupted = 11
	takenOver   = 13
)

type report struct {
	Session   string         `json:"session"`
	Ready     int            `json:"ready"`
	Final     []string       `json:"final"`
	State     map[string]any `json:"state"`
	Sent      int            `json:"sent"`
	Acked     int            `json:"acked"`
	Spoken    int            `json:"spoken_bytes"`
	Answers   int            `json:"answers"`
	Reset     int            `json:"reset"`
	ByeFrames int            `json:"bye_frames"`
	Closed    *int           `json:"closed"`
}

type caller struct {
	url       string
	transport *webtransport.Transport
	session   *webtransport.Session
	control   *webtransport.Stream
	uplink    *webtransport.SendStream

	lock   sync.Mutex
	did    report
	token  string
	next   int
	ready  chan struct{}
	bye    chan struct{}
	errors chan error
}

func main() {
	url := flag.String("url", "", "https://HOST:PORT/v1/voice?token=...")
	ca := flag.String("ca", "", "the certificate authority's PEM file")
	recording := flag.String("recording", "", "raw PCM, 16 bits, 16 kHz, mono")
	move := flag.Bool("move", false, "leave with TAKEN_OVER half way, and resume")
	window := flag.Int64("window", 0, "flow control: bytes and streams that the server may send at first, 0 is none")
	flag.Parse()
	did, err := run(*url, *ca, *recording, *move, *window)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(did); err != nil {
		os.Exit(1)
	}
}

func run(url, ca, recording string, move bool, window int64) (report, error) {
	pem, err := os.ReadFile(ca)
	if err != nil {
		return report{}, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	pcm, err := os.ReadFile(recording)
	if err != nil {
		return report{}, err
	}
	config := &webtransport.Config{}
	if window > 0 {
		config = &webtransport.Config{MaxIncomingStreams: 1, MaxIncomingUniStreams: 1, MaxIncomingData: window}
	}
	c := &caller{
		url: url,
		transport: &webtransport.Transport{
			Config:          config,
			TLSClientConfig: &tls.Config{RootCAs: roots},
			QUICConfig: &quic.Config{
				EnableDatagrams:                  true,
				EnableStreamResetPartialDelivery: true,
			},
		},
		errors: make(chan error, 16),
		bye:    make(chan struct{}),
	}
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	start := map[string]any{"type": "start", "accept": []any{pcm16At16k}}
	if err := c.dial(ctx, start); err != nil {
		return report{}, err
	}
	total := len(pcm) / frameBytes
	if move {
		if err := c.speak(ctx, pcm, total/2); err != nil {
			return report{}, err
		}
		if err := c.session.CloseWithError(takenOver, "going on elsewhere"); err != nil {
			return report{}, err
		}
		resume := map[string]any{
			"type": "resume", "session": c.did.Session, "token": c.token, "accept": []any{pcm16At16k}, "next_generation": 1,
		}
		if err := c.dial(ctx, resume); err != nil {
			return report{}, err
		}
	}
	if err := c.speak(ctx, pcm, total); err != nil {
		return report{}, err
	}
	if err := c.say(map[string]any{"type": "bye", "frames": total}); err != nil {
		return report{}, err
	}
	select {
	case <-c.bye:
	case err := <-c.errors:
		return report{}, err
	case <-ctx.Done():
		return report{}, errors.New("the worker never said bye")
	}
	select {
	case <-c.session.Context().Done():
	case <-ctx.Done():
		return report{}, errors.New("the worker never closed the session")
	}
	c.closed()
	c.lock.Lock()
	defer c.lock.Unlock()
	c.did.Sent = total
	return c.did, nil
}

// dial opens a session and waits for ready.
func (c *caller) dial(ctx context.Context, first map[string]any) error {
	_, session, err := c.transport.Dial(ctx, c.url, nil)
	if err != nil {
		return err
	}
	c.session = session
	c.ready = make(chan struct{})
	if c.control, err = session.OpenStreamSync(ctx); err != nil {
		return err
	}
	if err := c.say(first); err != nil {
		return err
	}
	go c.listen(c.control, c.ready)
	go c.hear(ctx, session)
	select {
	case <-c.ready:
	case err := <-c.errors:
		return err
	case <-ctx.Done():
		return errors.New("no ready")
	}
	if c.uplink, err = session.OpenUniStreamSync(ctx); err != nil {
		return err
	}
	_, err = c.uplink.Write([]byte{1})
	return err
}

// speak sends the frames up to this one, in real time.
func (c *caller) speak(ctx context.Context, pcm []byte, end int) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for ; c.next < end; c.next++ {
		body := append([]byte{pcm16At16k}, quicvarint.Append(nil, uint64(c.next))...)
		body = quicvarint.Append(body, uint64(c.next*frameTicks))
		body = append(body, pcm[c.next*frameBytes:(c.next+1)*frameBytes]...)
		if _, err := c.uplink.Write(append(quicvarint.Append(nil, uint64(len(body))), body...)); err != nil {
			return err
		}
		if c.next%20 == 0 {
			if err := c.say(map[string]any{"type": "ping", "id": c.next}); err != nil {
				return err
			}
		}
		select {
		case <-tick.C:
		case err := <-c.errors:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (c *caller) say(message map[string]any) error {
	body := encode(nil, message)
	_, err := c.control.Write(append(quicvarint.Append(nil, uint64(len(body))), body...))
	return err
}

// listen reads control messages until the stream ends.
func (c *caller) listen(control io.Reader, ready chan struct{}) {
	r := bufio.NewReader(control)
	for {
		length, err := quicvarint.Read(r)
		if err != nil {
			return
		}
		body := make([]byte, length)
		if _, err := io.ReadFull(r, body); err != nil {
			return
		}
		message, err := decode(body)
		if err != nil {
			c.errors <- err
			return
		}
		c.took(message, ready)
	}
}

func (c *caller) took(message map[string]any, ready chan struct{}) {
	c.lock.Lock()
	defer c.lock.Unlock()
	switch message["type"] {
	case "ready":
		c.did.Ready++
		c.did.Session, _ = message["session"].(string)
		c.token, _ = message["token"].(string)
		if next, ok := message["next_sequence"].(int); ok {
			c.next = next
		}
		close(ready)
	case "transcript":
		if final, _ := message["is_final"].(bool); final && message["role"] == "user" {
			c.did.Final = append(c.did.Final, fmt.Sprint(message["text"]))
		}
	case "state":
		c.did.State, _ = message["state"].(map[string]any)
	case "heard":
		c.did.Acked, _ = message["sequence"].(int)
	case "error":
		c.errors <- fmt.Errorf("error %v: %v", message["code"], message["message"])
	case "bye":
		c.did.ByeFrames, _ = message["frames"].(int)
		close(c.bye)
	}
}

// hear takes one utterance after the other, and reports each as played.
func (c *caller) hear(ctx context.Context, session *webtransport.Session) {
	for {
		stream, err := session.AcceptUniStream(ctx)
		if err != nil {
			return
		}
		go func() {
			r := bufio.NewReader(stream)
			if kind, err := quicvarint.Read(r); err != nil || kind != 2 {
				return
			}
			utteranceID, err := quicvarint.Read(r)
			if err != nil {
				return
			}
			spoken, frames := 0, 0
			for {
				length, err := quicvarint.Read(r)
				if err != nil {
					c.utteranceEnded(utteranceID, spoken, frames, err)
					return
				}
				body := make([]byte, length)
				if _, err := io.ReadFull(r, body); err != nil {
					c.utteranceEnded(utteranceID, spoken, frames, err)
					return
				}
				spoken += len(body)
				frames++
			}
		}()
	}
}

func (c *caller) utteranceEnded(utteranceID uint64, spoken, frames int, err error) {
	c.lock.Lock()
	c.did.Spoken += spoken
	var reset *webtransport.StreamError
	isWhole := errors.Is(err, io.EOF)
	if isWhole {
		c.did.Answers++
	} else if errors.As(err, &reset) && reset.ErrorCode == interrupted {
		c.did.Reset++
	}
	c.lock.Unlock()
	if isWhole {
		position := frames * 20
		_ = c.say(map[string]any{
			"type": "played", "generation": int(utteranceID), "position_ms": position, "is_complete": true,
		})
	}
}

// closed notes by which code the server ended the session.
func (c *caller) closed() {
	_, err := c.session.AcceptUniStream(context.Background())
	var ended *webtransport.SessionError
	if errors.As(err, &ended) && ended.Remote {
		code := int(ended.ErrorCode)
		c.lock.Lock()
		c.did.Closed = &code
		c.lock.Unlock()
	}
}
