package main

import (
	"fmt"
	"io"
	"net"
	"net/http"

	"github.com/pion/interceptor"
	"github.com/pion/webrtc/v4"
)

var opus = webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2}

// newAPI speaks Opus alone, over IPv4, on loopback too, with the interceptors that pion registers by default.
func newAPI() *webrtc.API {
	media := &webrtc.MediaEngine{}
	parameters := webrtc.RTPCodecParameters{RTPCodecCapability: opus, PayloadType: 111}
	check(media.RegisterCodec(parameters, webrtc.RTPCodecTypeAudio))
	interceptors := &interceptor.Registry{}
	check(webrtc.RegisterDefaultInterceptors(media, interceptors))
	settings := webrtc.SettingEngine{}
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetIPFilter(func(ip net.IP) bool { return ip.IsLoopback() })
	settings.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	return webrtc.NewAPI(
		webrtc.WithMediaEngine(media), webrtc.WithInterceptorRegistry(interceptors), webrtc.WithSettingEngine(settings))
}

func serve(address string) {
	api := newAPI()
	http.HandleFunc("/", func(out http.ResponseWriter, request *http.Request) {
		offer, err := io.ReadAll(request.Body)
		if err == nil {
			var answer string
			if answer, err = answerOffer(api, string(offer)); err == nil {
				_, err = io.WriteString(out, answer)
			}
		}
		if err != nil {
			http.Error(out, err.Error(), http.StatusInternalServerError)
		}
	})
	listener, err := net.Listen("tcp", address)
	check(err)
	fmt.Println("ready")
	check(http.Serve(listener, nil))
}

func answerOffer(api *webrtc.API, offer string) (string, error) {
	peer, err := api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return "", err
	}
	track, err := webrtc.NewTrackLocalStaticRTP(opus, "audio", "echo")
	if err != nil {
		return "", err
	}
	sender, err := peer.AddTrack(track)
	if err != nil {
		return "", err
	}
	go drain(sender)
	peer.OnTrack(func(remote *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		for {
			packet, _, err := remote.ReadRTP()
			if err != nil {
				return
			}
			if track.WriteRTP(packet) != nil {
				return
			}
		}
	})
	peer.OnDataChannel(func(channel *webrtc.DataChannel) {
		channel.OnMessage(func(message webrtc.DataChannelMessage) { _ = channel.Send(message.Data) })
	})
	peer.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		if state == webrtc.PeerConnectionStateFailed || state == webrtc.PeerConnectionStateDisconnected {
			_ = peer.Close()
		}
	})
	if err := peer.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer}); err != nil {
		return "", err
	}
	answer, err := peer.CreateAnswer(nil)
	if err != nil {
		return "", err
	}
	gathered := webrtc.GatheringCompletePromise(peer)
	if err := peer.SetLocalDescription(answer); err != nil {
		return "", err
	}
	<-gathered
	return peer.LocalDescription().SDP, nil
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

func check(err error) {
	if err != nil {
		panic(err)
	}
}
