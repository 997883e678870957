package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media"
	"golang.org/x/sys/unix"
)

// The numbers of ../timing.py.
const (
	frameTime    = 20 * time.Millisecond
	payloadBytes = 52
	speechFrames = 400
	silentFor    = time.Second
	tail         = 4 * time.Second
	// Of signalling: a first offer takes this long over a narrow link; one after it is given up for the next sooner.
	firstOffer = 10 * time.Second
	laterOffer = time.Second
)

type point [2]float64

// voiceCall is CallTimes of ../timing.py.
type voiceCall struct {
	sync.Mutex `json:"-"`
	Began      float64  `json:"began"`
	Connected  *float64 `json:"connected"`
	Back       *float64 `json:"back"`
	Sent       []point  `json:"sent"`
	Received   []point  `json:"received"`
	Reconnects int      `json:"reconnects"`
	Sessions   int      `json:"sessions"`
	Error      *string  `json:"error"`
}

func monotonic() float64 {
	var now unix.Timespec
	check(unix.ClockGettime(unix.CLOCK_MONOTONIC, &now))
	return float64(now.Sec) + float64(now.Nsec)/1e9
}

func framePayload(sequence int) []byte {
	payload := make([]byte, 4+payloadBytes)
	binary.BigEndian.PutUint32(payload, uint32(sequence))
	return payload
}

type answering struct {
	sync.Mutex
	peer     *webrtc.PeerConnection
	received []point
}

// answerVoice answers calls until its input ends; with a registry they come through a router.
func answerVoice(address, certificate, key string, hasMux bool, registry *registry) {
	options := mediaOptions{hasNACK: true, onLoopback: isLoopback(address)}
	if hasMux {
		var err error
		options.mux, err = net.ListenPacket("udp4", address)
		check(err)
	}
	api := newAPI(options)
	var lock sync.Mutex
	calls, order := map[string]*answering{}, []*answering{}
	handler := func(out http.ResponseWriter, request *http.Request) {
		out.Header().Set("Access-Control-Allow-Origin", "*") // a page of a browser is another origin's
		if request.Method != http.MethodPost {
			return // it opens a connection ahead of its call
		}
		offer, err := io.ReadAll(request.Body)
		check(err)
		lock.Lock()
		name := request.URL.Query().Get("call")
		call := calls[name]
		if call == nil {
			call = &answering{}
			calls[name], order = call, append(order, call)
		}
		lock.Unlock()
		if registry != nil {
			offer = []byte(withoutCandidates(string(offer)))
		}
		answer, err := call.answer(api, string(offer), request.URL.Query().Get("script"))
		if err != nil {
			http.Error(out, err.Error(), http.StatusInternalServerError)
			return
		}
		if registry != nil {
			answer = registry.announce(answer)
		}
		_, _ = io.WriteString(out, answer)
	}
	listener, err := net.Listen("tcp4", address)
	check(err)
	go func() { check(http.ServeTLS(listener, http.HandlerFunc(handler), certificate, key)) }()
	fmt.Println("ready")
	_, _ = io.ReadAll(os.Stdin)
	lock.Lock()
	result := [][]point{}
	for _, call := range order {
		call.Lock()
		result = append(result, append([]point{}, call.received...))
	}
	answer(result)
}

func (c *answering) answer(api *webrtc.API, offer, script string) (string, error) {
	if c.peer == nil {
		track, err := webrtc.NewTrackLocalStaticSample(opus, "audio", "agent")
		if err != nil {
			return "", err
		}
		peer, err := newPeer(api, track)
		if err != nil {
			return "", err
		}
		peer.OnTrack(func(remote *webrtc.TrackRemote, _ *webrtc.RTPReceiver) { c.follow(remote, track, script) })
		c.peer = peer
	}
	return takeOffer(c.peer, offer)
}

func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	check(err)
	return net.ParseIP(host).IsLoopback()
}

func (c *answering) follow(remote *webrtc.TrackRemote, track *webrtc.TrackLocalStaticSample, script string) {
	isSpeaking := false
	for {
		packet, _, err := remote.ReadRTP()
		if err != nil {
			return
		}
		if len(packet.Payload) < 4 {
			continue
		}
		c.Lock()
		c.received = append(c.received, point{float64(binary.BigEndian.Uint32(packet.Payload)), monotonic()})
		c.Unlock()
		if script != "listen" {
			_ = track.WriteSample(media.Sample{Data: packet.Payload, Duration: frameTime})
		} else if !isSpeaking {
			isSpeaking = true
			go func() {
				began := time.Now()
				for sequence := range speechFrames { // RTP has no other pace than that of speech
					time.Sleep(time.Until(began.Add(time.Duration(sequence) * frameTime)))
					_ = track.WriteSample(media.Sample{Data: framePayload(sequence), Duration: frameTime})
				}
			}()
		}
	}
}

type voiceCaller struct {
	api     *webrtc.API
	http    *http.Client
	url     string
	script  string
	changes chan struct{}
	ended   chan struct{}
}

// callVoice places calls one after the other, those of the script "echo" at once; `addresses` are called in turn.
func callVoice(addresses []string, authority, script, count, seconds string) {
	pem, err := os.ReadFile(authority)
	check(err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	number, err := strconv.Atoi(count)
	check(err)
	length, err := strconv.ParseFloat(seconds, 64)
	check(err)
	changes, ended := make(chan struct{}), make(chan struct{})
	go func() {
		for input := bufio.NewScanner(os.Stdin); input.Scan(); {
			if input.Text() == "end" {
				close(ended)
				return
			}
			changes <- struct{}{}
		}
	}()
	calls := make([]*voiceCall, number)
	var running sync.WaitGroup
	for index := range number {
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: script == "setup"}
		address := addresses[index%len(addresses)]
		url := fmt.Sprintf("https://%s/?script=%s&call=%d-%d", address, script, os.Getpid(), index)
		api := newAPI(mediaOptions{hasNACK: true, onLoopback: isLoopback(address)})
		caller := &voiceCaller{api, &http.Client{Transport: transport, Timeout: firstOffer}, url, script, changes, ended}
		running.Go(func() { calls[index] = caller.place(time.Duration(length * float64(time.Second))) })
		if script != "echo" {
			running.Wait()
		}
	}
	running.Wait()
	answer(calls)
}

// offer sends an offer, of an ICE restart where asked, and takes the answer.
func (c *voiceCaller) offer(peer *webrtc.PeerConnection, isRestart bool) error {
	if peer.SignalingState() == webrtc.SignalingStateStable {
		if _, err := makeOffer(peer, isRestart); err != nil {
			return err
		}
	} // otherwise the offer before has not got through
	response, err := c.http.Post(c.url, "application/sdp", bytes.NewReader([]byte(peer.LocalDescription().SDP)))
	if err != nil {
		c.http.CloseIdleConnections() // the next one is not to wait for a dead connection
		return err
	}
	body, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if err != nil || response.StatusCode != http.StatusOK {
		return errors.Join(err, errors.New(string(body)))
	}
	return takeAnswer(peer, string(body))
}

func (c *voiceCaller) place(length time.Duration) *voiceCall {
	call := &voiceCall{Began: monotonic(), Sessions: 1, Sent: []point{}, Received: []point{}}
	track, err := webrtc.NewTrackLocalStaticSample(opus, "audio", "caller")
	check(err)
	peer, err := newPeer(c.api, track)
	check(err)
	defer func() { _ = peer.Close() }()
	connected, first := make(chan struct{}), make(chan struct{})
	var once, firstOnce sync.Once
	peer.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		if state == webrtc.PeerConnectionStateConnected {
			once.Do(func() { close(connected) })
		}
	})
	echoed := make(chan struct{}, 1)
	peer.OnTrack(func(remote *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		for {
			packet, _, err := remote.ReadRTP()
			if err != nil {
				return
			}
			if len(packet.Payload) < 4 {
				continue
			}
			now := monotonic()
			call.Lock()
			call.Received = append(call.Received, point{float64(binary.BigEndian.Uint32(packet.Payload)), now})
			if call.Back == nil {
				call.Back = &now
			}
			call.Unlock()
			firstOnce.Do(func() { close(first) })
			select {
			case echoed <- struct{}{}:
			default:
			}
		}
	})
	check(c.offer(peer, false))
	c.http.Timeout = laterOffer
	<-connected
	now := monotonic()
	call.Connected = &now
	send := func(sequence int) {
		call.Lock()
		call.Sent = append(call.Sent, point{float64(sequence), monotonic()})
		call.Unlock()
		_ = track.WriteSample(media.Sample{Data: framePayload(sequence), Duration: frameTime})
	}
	switch c.script {
	case "setup":
		send(0)
		<-first
	case "listen":
		for sequence := 0; ; sequence++ { // a datagram may be lost
			send(sequence)
			select {
			case <-first:
			case <-time.After(5 * frameTime):
				continue
			}
			break
		}
		fmt.Println("first")
		time.Sleep(length)
	default:
		fmt.Println("ready")
		stop := make(chan struct{})
		go c.watch(peer, call, echoed, stop)
		began := time.Now()
		for sequence := range int(length / frameTime) {
			time.Sleep(time.Until(began.Add(time.Duration(sequence) * frameTime)))
			if c.hasEnded() {
				break
			}
			send(sequence)
		}
		if !c.hasEnded() {
			time.Sleep(tail)
		}
		close(stop)
	}
	call.Lock() // for good: what comes later is of no interest
	return call
}

// hasEnded says whether the benchmark has said "end".
func (c *voiceCaller) hasEnded() bool {
	select {
	case <-c.ended:
		return true
	default:
		return false
	}
}

// watch restarts ICE where the system says that the network has changed, or no echo has come for silentFor.
func (c *voiceCaller) watch(peer *webrtc.PeerConnection, call *voiceCall, echoed, stop chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-echoed:
			continue
		case <-c.changes:
		case <-time.After(silentFor):
		}
		c.http.CloseIdleConnections()
		if c.offer(peer, true) == nil {
			call.Lock()
			call.Reconnects++
			call.Unlock()
		} else {
			time.Sleep(100 * time.Millisecond)
		}
	}
}
