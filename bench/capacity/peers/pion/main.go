// A WebRTC peer on pion: an echo of one audio track per caller, and the callers.
//
// pion serve HOST:PORT            answers POST /, an SDP offer, with its answer; echoes RTP of audio, messages of a data channel
// pion load HOST:PORT PATTERN [--silent]  is commanded by lines, as the generator of ../../native is
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
	} else {
		fmt.Fprintln(os.Stderr, "usage: pion serve HOST:PORT | pion load HOST:PORT PATTERN [--silent]")
		os.Exit(2)
	}
}
