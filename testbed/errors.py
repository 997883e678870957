"""What a simulation reports when the code under test misbehaves.

SimulationError
├── DeadlockError       nothing is ready, no timer is set, and the scenario has not ended
├── OutOfTimeError      the scenario has not ended at its limit of virtual time
├── LeakError           the scenario ended and left tasks or sockets behind
└── NotSimulatedError   the code asked for something that has no place in a simulation: a thread, TCP, real time
"""

from __future__ import annotations


class SimulationError(Exception):
    """Base of all that a simulation raises."""


class DeadlockError(SimulationError):
    """Nothing is ready and no timer is set: the scenario would wait for ever."""


class OutOfTimeError(SimulationError):
    """The scenario has not ended at its limit of virtual time."""


class LeakError(SimulationError):
    """The scenario ended and left tasks or sockets behind."""


class NotSimulatedError(SimulationError):
    """The code asked for something a simulation does not have."""
