package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/pion/interceptor/pkg/nack"
	"github.com/pion/webrtc/v4"
)

// askedFor says how often a lost packet is asked for, as LiveKit's servers do it: soon, in spite of a second loss, and
// without end of copies after a blackout.
var askedFor = []nack.GeneratorOption{nack.GeneratorInterval(20 * time.Millisecond), nack.GeneratorMaxNacksPerPacket(5)}

var transportCC = regexp.MustCompile(`a=(rtcp-fb:\d+ transport-cc|extmap:\d+ \S+transport-wide-cc\S*)\r\n`)

// rtpPacket is a packet of audio as it arrived; At is monotonic, in seconds.
type rtpPacket struct {
	At          float64 `json:"at"`
	Sequence    uint16  `json:"sequence"`
	Timestamp   uint32  `json:"timestamp"`
	PayloadType uint8   `json:"payload_type"`
	Payload     []byte  `json:"payload"`
}

type listening struct {
	sync.Mutex
	packets map[string][]rtpPacket
}

// listenToBrowsers answers POST /?port=PORT&red=true|false, an SDP offer; media come to the UDP port named. It asks for
// NACK, which browsers offer for video alone and have for audio where an answer asks for it.
func listenToBrowsers(address, certificate, key string) {
	host, _, err := net.SplitHostPort(address)
	check(err)
	listening := &listening{packets: map[string][]rtpPacket{}}
	handler := func(out http.ResponseWriter, request *http.Request) {
		out.Header().Set("Access-Control-Allow-Origin", "*") // the page is another origin's
		offer, err := io.ReadAll(request.Body)
		check(err)
		query := request.URL.Query()
		answer, err := listening.answer(net.JoinHostPort(host, query.Get("port")), query.Get("red") == "true", string(offer))
		if err != nil {
			http.Error(out, err.Error(), http.StatusInternalServerError)
			return
		}
		_, _ = io.WriteString(out, answer)
	}
	listener, err := net.Listen("tcp4", address)
	check(err)
	go func() { check(http.ServeTLS(listener, http.HandlerFunc(handler), certificate, key)) }()
	fmt.Println("ready")
	_, _ = io.ReadAll(os.Stdin)
	listening.Lock()
	answer(listening.packets)
}

func (l *listening) answer(address string, hasRED bool, offer string) (string, error) {
	mux, err := net.ListenPacket("udp4", address)
	if err != nil {
		return "", err
	}
	api := newAPI(mediaOptions{hasNACK: true, hasRED: hasRED, nack: askedFor, mux: mux})
	peer, err := api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(address)
	check(err)
	peer.OnTrack(func(remote *webrtc.TrackRemote, _ *webrtc.RTPReceiver) { l.note(port, remote) })
	return takeOffer(peer, askingForNACK(offer))
}

func (l *listening) note(port string, remote *webrtc.TrackRemote) {
	for {
		packet, _, err := remote.ReadRTP()
		if err != nil {
			return
		}
		noted := rtpPacket{monotonic(), packet.SequenceNumber, packet.Timestamp, packet.PayloadType, packet.Payload}
		l.Lock()
		l.packets[port] = append(l.packets[port], noted)
		l.Unlock()
	}
}

// askingForNACK is the offer with NACK for Opus and RED, so that pion's answer asks for it, in place of transport-cc: to
// estimate the link, a browser would send a call of audio alone padding more than once for each frame.
func askingForNACK(offer string) string {
	for _, payloadType := range []int{opusPayloadType, redPayloadType} {
		format := fmt.Sprintf("a=rtpmap:%d ", payloadType)
		offer = strings.ReplaceAll(offer, format, fmt.Sprintf("a=rtcp-fb:%d nack\r\n%s", payloadType, format))
	}
	return transportCC.ReplaceAllString(offer, "")
}
