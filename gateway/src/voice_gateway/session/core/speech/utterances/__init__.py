"""What the agent says, utterance by utterance: numbered, made, sent, played, cut off, held and gone on with."""
