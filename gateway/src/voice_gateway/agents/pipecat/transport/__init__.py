"""A voice session as a transport of Pipecat: input, output, and the playback that both follow."""
