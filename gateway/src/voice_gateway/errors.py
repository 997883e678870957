"""What the gateway raises when its operator or a caller of its API made a mistake; a peer's mistakes never raise.

GatewayError
├── ConfigurationError   a setting is missing, unknown or out of range
├── IdentityError        the certificate or its key cannot be served
├── BindError            a socket cannot be opened where the settings say
├── StoreError           the session store cannot be reached or read
├── AgentError           the agent cannot be built or loaded
│   ├── ServiceError     a service that the agent uses failed or refused; the message quotes no caller
│   └── StateTooLarge    what an agent wants saved of a call is larger than a session record, or a client, takes
├── ArchiveError         the storage of recordings cannot be reached or read (`voice_gateway.recording`)
├── UnknownCall          there is no recording of this call (`voice_gateway.recording`)
├── NewerRecording       a recording has a newer format than this version reads (`voice_gateway.recording`)
├── TooLong              a recorded call is too long to be decoded (`voice_gateway.recording`)
└── ClientToolError      a tool of a client gave no result (`voice_gateway.agent.call.client`)

Every message is one sentence that names the rule and the value.
"""

from __future__ import annotations

import traceback
from typing import Final

_PLACES_LOGGED: Final = 3


class GatewayError(Exception):
    """Root of the tree; catch it at the command line and print it."""


class ConfigurationError(GatewayError):
    """A setting is missing, unknown or out of range."""


class IdentityError(GatewayError):
    """The certificate or its key cannot be served."""


class BindError(GatewayError):
    """A socket cannot be opened where the settings say."""


class StoreError(GatewayError):
    """The session store cannot be reached or read."""


class AgentError(GatewayError):
    """The agent cannot be built or loaded."""


class ServiceError(AgentError):
    """A service that the agent uses failed or refused. The message quotes neither its caller nor its key."""


class StateTooLarge(AgentError):  # noqa: N818 - it says what is wrong
    """What an agent wants saved of a call is too large; `size` and `limit` are bytes, encoded."""

    def __init__(self, what: str, size: int, limit: int) -> None:
        super().__init__(
            f"{what} has {size:,} bytes, the limit is {limit:,}: keep large data in a store of your own, under the "
            "session's ID"
        )
        self.size = size
        self.limit = limit


def loggable(error: BaseException) -> dict[str, object]:
    """Return what a log may hold of an exception: its type and the innermost places; its text may quote a caller."""
    places = traceback.extract_tb(error.__traceback__)[-_PLACES_LOGGED:]
    return {
        "error": type(error).__name__,
        "at": [f"{place.filename}:{place.lineno} {place.name}" for place in places],
    }
