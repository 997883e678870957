package main

import (
	"net"

	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/nack"
	"github.com/pion/transport/v5"
	"github.com/pion/transport/v5/stdnet"
	"github.com/pion/webrtc/v4"
)

var (
	opus = webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2}
	// red is RFC 2198 with Opus in it, as browsers offer it; a browser sends it where it is the first of both.
	red = webrtc.RTPCodecCapability{MimeType: "audio/red", ClockRate: 48000, Channels: 2, SDPFmtpLine: "111/111"}
)

const (
	opusPayloadType = 111
	redPayloadType  = 63
)

// mediaOptions says where media go and how they are repaired. On loopback interfaces are looked at once; elsewhere each time,
// as an ICE restart on a new network needs it. All media use `mux` where there is one. pion asks for NACK of audio only
// where the codec names it; `nack` says how often, where that is not as by default.
type mediaOptions struct {
	onLoopback, hasNACK, hasRED bool
	nack                        []nack.GeneratorOption
	mux                         net.PacketConn
}

// newAPI speaks Opus alone, or in RED, over IPv4, with the interceptors that pion registers by default.
func newAPI(options mediaOptions) *webrtc.API {
	engine, interceptors, settings := &webrtc.MediaEngine{}, &interceptor.Registry{}, webrtc.SettingEngine{}
	register := func(codec webrtc.RTPCodecCapability, payloadType webrtc.PayloadType) {
		if options.hasNACK {
			codec.RTCPFeedback = []webrtc.RTCPFeedback{{Type: "nack"}}
		}
		parameters := webrtc.RTPCodecParameters{RTPCodecCapability: codec, PayloadType: payloadType}
		check(engine.RegisterCodec(parameters, webrtc.RTPCodecTypeAudio))
	}
	if options.hasRED {
		register(red, redPayloadType)
	}
	register(opus, opusPayloadType)
	check(webrtc.RegisterDefaultInterceptorsWithOptions(
		engine, interceptors, webrtc.WithNackGeneratorOptions(options.nack...)))
	settings.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	if options.onLoopback {
		settings.SetIncludeLoopbackCandidate(true)
		settings.SetIPFilter(func(ip net.IP) bool { return ip.IsLoopback() })
	} else {
		own, err := stdnet.NewNet()
		check(err)
		settings.SetNet(presentNet{own})
	}
	if options.mux != nil {
		settings.SetICEUDPMux(webrtc.NewICEUDPMux(nil, options.mux))
	}
	return webrtc.NewAPI(
		webrtc.WithMediaEngine(engine), webrtc.WithInterceptorRegistry(interceptors), webrtc.WithSettingEngine(settings))
}

// presentNet looks at the interfaces each time: pion's own Net remembers those of its beginning, and ICE restarts fail.
type presentNet struct{ *stdnet.Net }

func (presentNet) Interfaces() ([]*transport.Interface, error) {
	present, err := stdnet.NewNet()
	if err != nil {
		return nil, err
	}
	return present.Interfaces()
}

// newPeer is a connection that sends one track; it is nil only where there is none to close.
func newPeer(api *webrtc.API, track webrtc.TrackLocal) (*webrtc.PeerConnection, error) {
	peer, err := api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return nil, err
	}
	sender, err := peer.AddTrack(track)
	if err == nil {
		go drain(sender)
	}
	return peer, err
}

// drain reads what comes back for a track, RTCP, which its interceptors need.
func drain(sender *webrtc.RTPSender) {
	buffer := make([]byte, 1500)
	for {
		if _, _, err := sender.Read(buffer); err != nil {
			return
		}
	}
}

// makeOffer returns the offer with all candidates.
func makeOffer(peer *webrtc.PeerConnection, isRestart bool) (string, error) {
	offer, err := peer.CreateOffer(&webrtc.OfferOptions{ICERestart: isRestart})
	if err != nil {
		return "", err
	}
	return describe(peer, offer)
}

// takeOffer returns the answer to an offer, with all candidates.
func takeOffer(peer *webrtc.PeerConnection, offer string) (string, error) {
	if err := peer.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer}); err != nil {
		return "", err
	}
	answer, err := peer.CreateAnswer(nil)
	if err != nil {
		return "", err
	}
	return describe(peer, answer)
}

func describe(peer *webrtc.PeerConnection, local webrtc.SessionDescription) (string, error) {
	gathered := webrtc.GatheringCompletePromise(peer)
	if err := peer.SetLocalDescription(local); err != nil {
		return "", err
	}
	<-gathered
	return peer.LocalDescription().SDP, nil
}

// takeAnswer ends the exchange that makeOffer began.
func takeAnswer(peer *webrtc.PeerConnection, answer string) error {
	return peer.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer})
}
