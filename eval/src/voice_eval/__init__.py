"""Evaluate any voice agent on a bad network.

    voice-eval run orders --agent shop:Waiter --path . --conditions train,blackout-2s --html report.html

A scenario (`voice_eval.scenario`) says what a caller says and what must come of it; a condition (`voice_eval.network`)
is what the network does meanwhile; a driver (`voice_eval.drivers`) calls one kind of server.
"""

__version__ = "0.1.0"
