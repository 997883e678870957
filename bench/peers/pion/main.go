// A WebRTC peer on pion: an echo of one audio track per caller, and the callers.
//
// pion serve HOST:PORT            answers POST /, an SDP offer, with its answer; echoes RTP of audio, messages of a data channel
// pion load HOST:PORT PATTERN [--silent]  is commanded by lines, as the generator of ../../capacity/native is
// pion answer IP:PORT CERTIFICATE KEY mux|no-mux  answers calls as ../timing.py describes: HTTPS signalling, and media
// on one UDP port or on those that pion takes
// pion call IP:PORT CA SCRIPT COUNT SECONDS  places such calls, one after the other
package main

import (
	"fmt"
	"os"
)

func main() {
	if len(os.Args) > 2 && os.Args[1] == "serve" {
		serve(os.Args[2])
	} else if len(os.Args) > 3 && os.Args[1] == "load" {
		silent := len(os.Args) > 4 && os.Args[4] == "--silent"
		load(os.Args[2], readPattern(os.Args[3], silent))
	} else if len(os.Args) > 5 && os.Args[1] == "answer" {
		answerVoice(os.Args[2], os.Args[3], os.Args[4], os.Args[5] == "mux")
	} else if len(os.Args) > 6 && os.Args[1] == "call" {
		callVoice(os.Args[2], os.Args[3], os.Args[4], os.Args[5], os.Args[6])
	} else {
		fmt.Fprintln(os.Stderr, "usage: pion serve HOST:PORT | load HOST:PORT PATTERN [--silent] | "+
			"answer IP:PORT CERTIFICATE KEY mux|no-mux | call IP:PORT CA SCRIPT COUNT SECONDS")
		os.Exit(2)
	}
}
