"""A cascade: voice activity detection, speech to text, a dialogue policy, text to speech.

`cascade.Cascade` takes the four parts, whose interfaces are in `parts`, and makes conversations of them, with turn
taking, barge-in and durability: the words of a turn and the state that follows from them are given to the session
together, before any of the turn's frames may be acknowledged. An agent keeps one cascade, opens and closes it, and
returns `cascade.converse(policy, emit)` from its own `converse`.
"""
