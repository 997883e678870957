"""Bounds on the memory and the work that a peer can cause: reassembly, loss recovery and the frames of a packet."""
