// A WebRTC peer on pion: an echo of one audio track per caller, and the callers.
//
// pion serve HOST:PORT            answers POST /, an SDP offer, with its answer; echoes RTP of audio, messages of a data channel
// pion load HOST:PORT PATTERN [--silent]  is commanded by lines, as the generator of ../../capacity/native is
// pion answer IP:PORT CERTIFICATE KEY mux|no-mux [REDIS PUBLIC]  answers calls as ../timing.py describes: HTTPS
// signalling, and media on one UDP port or on those that pion takes; through the router at PUBLIC where REDIS is its map
// pion listen IP:PORT CERTIFICATE KEY  answers browsers that only speak, and prints all packets of audio once its input ends
// pion call IP:PORT[,IP:PORT] CA SCRIPT COUNT SECONDS  places such calls, one after the other, or at once as "echo"; they
// end when it reads "end"
package main

import (
	"fmt"
	"os"
	"strings"
)

func main() {
	if len(os.Args) > 2 && os.Args[1] == "serve" {
		serve(os.Args[2])
	} else if len(os.Args) > 3 && os.Args[1] == "load" {
		silent := len(os.Args) > 4 && os.Args[4] == "--silent"
		load(os.Args[2], readPattern(os.Args[3], silent))
	} else if len(os.Args) > 5 && os.Args[1] == "answer" {
		var routed *registry
		if len(os.Args) > 7 {
			routed = newRegistry(os.Args[6], os.Args[2], os.Args[7])
		}
		answerVoice(os.Args[2], os.Args[3], os.Args[4], os.Args[5] == "mux", routed)
	} else if len(os.Args) > 4 && os.Args[1] == "listen" {
		listenToBrowsers(os.Args[2], os.Args[3], os.Args[4])
	} else if len(os.Args) > 6 && os.Args[1] == "call" {
		callVoice(strings.Split(os.Args[2], ","), os.Args[3], os.Args[4], os.Args[5], os.Args[6])
	} else {
		fmt.Fprintln(os.Stderr, "usage: pion serve HOST:PORT | load HOST:PORT PATTERN [--silent] | "+
			"answer IP:PORT CERTIFICATE KEY mux|no-mux [REDIS PUBLIC] | listen IP:PORT CERTIFICATE KEY | call IP:PORT[,IP:PORT] CA SCRIPT COUNT SECONDS")
		os.Exit(2)
	}
}
