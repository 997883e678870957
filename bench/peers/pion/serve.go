package main

import (
	"fmt"
	"io"
	"net"
	"net/http"

	"github.com/pion/webrtc/v4"
)

func serve(address string) {
	api := newAPI(mediaOptions{onLoopback: true})
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
	track, err := webrtc.NewTrackLocalStaticRTP(opus, "audio", "echo")
	if err != nil {
		return "", err
	}
	peer, err := newPeer(api, track)
	if err != nil {
		return "", err
	}
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
	return takeOffer(peer, offer)
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
