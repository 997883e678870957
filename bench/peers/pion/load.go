package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

const (
	pingInterval = 250 * time.Millisecond
	openTimeout  = 10 * time.Second
)

type frame struct {
	tick    uint32
	payload []byte
}

// pattern is what ../../capacity/native/src/traffic.rs describes.
type pattern struct {
	period uint32
	frames []frame
}

func readPattern(path string, silent bool) *pattern {
	file, err := os.ReadFile(path)
	check(err)
	found := &pattern{period: binary.BigEndian.Uint32(file)}
	for at := 4; at < len(file) && !silent; {
		length := int(binary.BigEndian.Uint16(file[at+4:]))
		found.frames = append(found.frames, frame{binary.BigEndian.Uint32(file[at:]), file[at+6 : at+6+length]})
		at += 6 + length
	}
	return found
}

func (p *pattern) offset(rank int) int {
	_, section := math.Modf(float64(rank) * 0.61803398875)
	return int(section * float64(len(p.frames)))
}

func (p *pattern) frame(offset, sequence int) (tick uint64, payload []byte) {
	index := offset + sequence
	at := p.frames[index%len(p.frames)]
	return uint64(at.tick) + uint64(index/len(p.frames))*uint64(p.period) - uint64(p.frames[offset].tick), at.payload
}

func after(tick uint64) time.Duration { return time.Duration(tick) * time.Second / 48000 }

type quantiles struct {
	N      int     `json:"n"`
	Median float64 `json:"median"`
	P99    float64 `json:"p99"`
	Max    float64 `json:"max"`
}

func quantilesOf(values []float64) quantiles {
	sorted := slices.Sorted(slices.Values(values))
	rank := func(share float64) float64 {
		if len(sorted) == 0 {
			return 0
		}
		return sorted[min(len(sorted), max(1, int(math.Ceil(share*float64(len(sorted))))))-1]
	}
	return quantiles{len(sorted), rank(0.5), rank(0.99), rank(1)}
}

// interarrival jitter of RFC 3550, section 6.4.1, in milliseconds.
type interarrival struct {
	last, mean float64
	isBegun    bool
}

func (j *interarrival) after(late float64) float64 {
	if j.isBegun {
		j.mean += (math.Abs(late-j.last) - j.mean) / 16
	}
	j.last, j.isBegun = late, true
	return j.mean
}

type statistics struct {
	sync.Mutex
	sessions, sent, received, bytes, lost int
	reason                                string
	echo, jitter, pong, behind            []float64
	began                                 time.Time
	cpu                                   float64
}

type generator struct {
	api        *webrtc.API
	server     string
	pattern    *pattern
	statistics statistics
	rank       int
	stop       chan struct{}
	calls      sync.WaitGroup
}

func load(server string, pattern *pattern) {
	g := &generator{api: newAPI(mediaOptions{onLoopback: true}), server: server, pattern: pattern, stop: make(chan struct{})}
	input := bufio.NewScanner(os.Stdin)
	for input.Scan() {
		var count int
		var seconds float64
		words := strings.SplitN(input.Text(), " ", 2)
		if len(words) == 2 {
			_, err := fmt.Sscan(words[1], &count, &seconds)
			check(err)
		}
		switch words[0] {
		case "grow":
			answer(g.grow(count, seconds))
		case "begin":
			g.begin()
			answer(struct{}{})
		case "end":
			answer(g.end())
		case "handshakes":
			answer(g.handshakes(count, time.Duration(seconds*float64(time.Second))))
		case "quit":
			close(g.stop)
			g.calls.Wait()
			return
		}
	}
}

func answer(value any) {
	line, err := json.Marshal(value)
	check(err)
	fmt.Println(string(line))
}

func (g *generator) grow(count int, seconds float64) map[string]any {
	results := make(chan error, count)
	for index := range count {
		rank := g.rank
		g.rank++
		delay := time.Duration(seconds * float64(index) / float64(count) * float64(time.Second))
		g.calls.Go(func() {
			time.Sleep(delay)
			g.call(rank, results)
		})
	}
	opened, failed, reason := 0, 0, ""
	for range count {
		if err := <-results; err != nil {
			failed, reason = failed+1, err.Error()
		} else {
			opened++
		}
	}
	g.statistics.Lock()
	defer g.statistics.Unlock()
	g.statistics.sessions += opened
	return map[string]any{"sessions": g.statistics.sessions, "opened": opened, "failed": failed, "reason": reason}
}

func (g *generator) begin() {
	s := &g.statistics
	s.Lock()
	defer s.Unlock()
	s.sent, s.received, s.bytes, s.lost, s.reason = 0, 0, 0, 0, ""
	s.echo, s.jitter, s.pong, s.behind = nil, nil, nil, nil
	s.began, s.cpu = time.Now(), cpuSeconds()
}

func (g *generator) end() map[string]any {
	s := &g.statistics
	s.Lock()
	defer s.Unlock()
	return map[string]any{
		"seconds": time.Since(s.began).Seconds(), "sessions": s.sessions, "lost": s.lost, "reason": s.reason,
		"frames_sent": s.sent, "frames_received": s.received, "bytes_received": s.bytes, "cpu_s": cpuSeconds() - s.cpu,
		"echo_ms": quantilesOf(s.echo), "jitter_ms": quantilesOf(s.jitter), "pong_ms": quantilesOf(s.pong), "behind_ms": quantilesOf(s.behind),
	}
}

func (g *generator) handshakes(concurrency int, duration time.Duration) map[string]any {
	var lock sync.Mutex
	var tasks sync.WaitGroup
	began, cpu := time.Now(), cpuSeconds()
	failed, reason, times := 0, "", []float64{}
	for range concurrency {
		tasks.Go(func() {
			for time.Since(began) < duration {
				since := time.Now()
				peer, _, err := g.open()
				lock.Lock()
				if err != nil {
					failed, reason = failed+1, err.Error()
				} else {
					times = append(times, milliseconds(since))
				}
				lock.Unlock()
				if peer != nil {
					_ = peer.Close()
				}
			}
		})
	}
	tasks.Wait()
	return map[string]any{
		"seconds": time.Since(began).Seconds(), "completed": len(times), "failed": failed, "reason": reason,
		"cpu_s": cpuSeconds() - cpu, "ms": quantilesOf(times),
	}
}

type connected struct {
	track   *webrtc.TrackLocalStaticRTP
	channel *webrtc.DataChannel
	remote  chan *webrtc.TrackRemote
}

// open returns once the data channel is open, which comes after ICE and DTLS.
func (g *generator) open() (*webrtc.PeerConnection, *connected, error) {
	track, err := webrtc.NewTrackLocalStaticRTP(opus, "audio", "caller")
	if err != nil {
		return nil, nil, err
	}
	peer, err := newPeer(g.api, track)
	if err != nil {
		return peer, nil, err
	}
	channel, err := peer.CreateDataChannel("ping", nil)
	if err != nil {
		return peer, nil, err
	}
	call := &connected{track, channel, make(chan *webrtc.TrackRemote, 1)}
	peer.OnTrack(func(remote *webrtc.TrackRemote, _ *webrtc.RTPReceiver) { call.remote <- remote })
	opened := make(chan struct{})
	channel.OnOpen(func() { close(opened) })
	offer, err := makeOffer(peer, false)
	if err != nil {
		return peer, nil, err
	}
	response, err := http.Post("http://"+g.server+"/", "application/sdp", strings.NewReader(offer))
	if err != nil {
		return peer, nil, err
	}
	body, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if err != nil || response.StatusCode != http.StatusOK {
		return peer, nil, errors.Join(err, errors.New(string(body)))
	}
	if err := takeAnswer(peer, string(body)); err != nil {
		return peer, nil, err
	}
	select {
	case <-opened:
		return peer, call, nil
	case <-time.After(openTimeout):
		return peer, nil, errors.New("timeout")
	}
}

func (g *generator) call(rank int, results chan<- error) {
	peer, call, err := g.open()
	results <- err
	if peer != nil {
		defer func() { _ = peer.Close() }()
	}
	if err != nil {
		return
	}
	began := time.Now()
	offset := g.pattern.offset(rank)
	s := &g.statistics
	call.channel.OnMessage(func(message webrtc.DataChannelMessage) {
		late := milliseconds(began.Add(time.Duration(binary.BigEndian.Uint32(message.Data)) * pingInterval))
		s.Lock()
		defer s.Unlock()
		s.pong = append(s.pong, late)
	})
	go func() {
		remote := <-call.remote
		var jitter interarrival
		for {
			packet, _, err := remote.ReadRTP()
			if err != nil {
				return
			}
			// the RTP timestamp is the tick, which the echo keeps; the payload type and SSRC are its own
			late := milliseconds(began.Add(after(uint64(packet.Timestamp))))
			s.Lock()
			s.received, s.bytes = s.received+1, s.bytes+len(packet.Payload)
			s.echo, s.jitter = append(s.echo, late), append(s.jitter, jitter.after(late))
			s.Unlock()
		}
	}()
	for sequence, ping := 0, 0; ; {
		pingAt := began.Add(time.Duration(ping) * pingInterval)
		next, frameAt := pingAt, time.Time{}
		var tick uint64
		var payload []byte
		if len(g.pattern.frames) > 0 {
			tick, payload = g.pattern.frame(offset, sequence)
			frameAt = began.Add(after(tick))
			if frameAt.Before(next) {
				next = frameAt
			}
		}
		select {
		case <-time.After(time.Until(next)):
		case <-g.stop:
			return
		}
		now := time.Now()
		if payload != nil && !now.Before(frameAt) {
			header := rtp.Header{Version: 2, SequenceNumber: uint16(sequence), Timestamp: uint32(tick)}
			err = call.track.WriteRTP(&rtp.Packet{Header: header, Payload: payload})
			sequence++
			s.Lock()
			s.sent, s.behind = s.sent+1, append(s.behind, milliseconds(frameAt))
			s.Unlock()
		}
		if !now.Before(pingAt) {
			err = errors.Join(err, call.channel.Send(binary.BigEndian.AppendUint32(nil, uint32(ping))))
			ping++
		}
		if err != nil {
			s.Lock()
			s.sessions, s.lost, s.reason = s.sessions-1, s.lost+1, err.Error()
			s.Unlock()
			return
		}
	}
}

func milliseconds(since time.Time) float64 {
	return float64(time.Since(since)) / float64(time.Millisecond)
}

func cpuSeconds() float64 {
	var usage syscall.Rusage
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds()
}
