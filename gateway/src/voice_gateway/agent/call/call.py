"""One caller's call, as the coroutine of a `CallAgent` sees it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar, overload

from voice_gateway.agent.base import Emit, HangUp, NoSpeechUpTo, RecordingConsent, TransferCall, UserAudio
from voice_gateway.agent.call.client import Client
from voice_gateway.agent.call.hearing.feeds import CallEvent, Feeds
from voice_gateway.agent.call.progress.journal import Turn
from voice_gateway.agent.call.progress.progress import Progress
from voice_gateway.agent.call.speaking.filler import Filler
from voice_gateway.agent.call.speaking.replies import Speakable, Spoken
from voice_gateway.agent.call.speaking.saying import Saying

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class CallParts:
    """What a call stands on."""

    progress: Progress
    saying: Saying
    feeds: Feeds
    client: Client
    filler: Filler


class Call:
    """Say something, wait for turns, call tools. All methods are for the event loop on which `converse` runs.

    `state` is a dict of plain values. It is saved when a turn is over, or by `commit`, and restored at another worker.
    """

    def __init__(self, emit: Emit, parts: CallParts) -> None:
        self.state: dict[str, Any] = parts.progress.state
        self._emit = emit
        self._parts = parts
        self._progress = parts.progress

    @property
    def session_id(self) -> str:
        """The session's ID; the same at each worker."""
        session = self._progress.session
        return "" if session is None else session.session_id

    @property
    def history(self) -> list[dict[str, str]]:
        """The conversation as messages of `role` ("user" or "assistant") and `content`, for a language model.

        Of what was interrupted it holds what was played. Neighbours of one role are one message.
        """
        session = self._progress.session
        messages: list[dict[str, str]] = []
        for line in () if session is None else session.transcript():
            role = "user" if line.role == "user" else "assistant"
            if messages and messages[-1]["role"] == role:
                messages[-1]["content"] += f" {line.text}"
            else:
                messages.append({"role": role, "content": line.text})
        return messages

    async def say(self, speech: Speakable, *, text: str | None = None) -> Spoken:
        """Say a text, a stream of text, or with `text` a stream of PCM16; return what of it was played.

        Returns once all was played, or the caller interrupted. What an earlier worker said of it is not said again.
        """
        return await self._parts.saying.say(speech, text)

    async def turns(self) -> AsyncIterator[Turn]:
        """Yield each turn of the caller; one that an earlier worker had not answered wholly comes first.

        A turn is over, and the state saved, when the next one is asked for.
        """
        while True:
            yield await self._progress.next_turn()

    async def commit(self, *, timeout_s: float | None = None) -> bool:
        """Save state, history and journal now, within a turn, and return `True` once they cannot be lost.

        After `timeout_s` return `False`: the store is slow or away, and has it as soon as it can. A turn that another
        worker repeats begins with the state from before the turn, and here gets the state that was committed: what it
        did to the state up to here is done once. Raises `StateTooLarge`, and `RuntimeError` in a tool.
        """
        return await self._progress.commit_within(timeout_s)

    @overload
    async def tool(self, function: Callable[..., Awaitable[_Result]], /, **arguments: object) -> _Result: ...

    @overload
    async def tool(self, function: Callable[..., _Result], /, **arguments: object) -> _Result: ...

    async def tool(self, function: Callable[..., Any], /, **arguments: object) -> Any:
        """Call a tool and return its result, which must be plain or of the type of the function's hint.

        That it is called is saved before, its result after. At another worker a call that ended returns that result,
        one that had not ended is made again with the same `key`. What the tool raises is raised, and not saved.
        """
        return await self._parts.filler.during(self._progress.steps.tool(function, arguments))

    async def client_tool(
        self, name: str, /, *, timeout_s: float = 30.0, cancel_on_interrupt: bool = False, **arguments: object
    ) -> Any:
        """Call a tool that the caller's client registered, and return its result, a plain value.

        Journalled as `tool`, and run once by the client: one that is asked again by another worker gives the same
        result. Raises `ClientToolError` with what the client says, at once where it has no tools,
        `ClientToolTimeout`, and with `cancel_on_interrupt` `ClientToolInterrupted` when the caller speaks, types or
        presses a key.
        """
        return await self._parts.client.tool(name, arguments, timeout_s, cancel_on_interrupt=cancel_on_interrupt)

    def send(self, data: Mapping[str, object]) -> None:
        """Send a map of plain values to the caller's application: once, also where another worker repeats the turn.

        Dropped for a client without messages, such as a telephone; raises `ValueError` for what cannot be sent.
        """
        self._parts.client.send(data)

    def messages(self) -> AsyncIterator[dict[str, Any]]:
        """Yield the messages of the caller's application, those before included, of which the newest 64 are kept.

        A message is over when the next one is asked for: until then another worker gives it again. The state is saved
        then, unless a turn is being answered. Have one reader.
        """
        return self._parts.client.messages()

    async def digits(self, most: int = 1, *, end: str = "#", timeout_s: float = 5.0) -> str:
        """Take the keys that the caller presses next, which make no turns: `most` of them, or those before `end`.

        Returns what has come once no key follows for `timeout_s`, or the caller speaks or types.
        """
        return await self._progress.digits(most, end, timeout_s)

    def hold(self, audio: bytes) -> AbstractAsyncContextManager[None]:
        """Play `audio`, PCM16 at the agent's `output_rate_hz`, over and over until the block ends.

        It stops for what is said in the block, and while the caller speaks, if that interrupts.
        """
        return self._parts.saying.hold(audio)

    async def transfer(self, target: str) -> NoReturn:
        """Hand the caller on to `target`, and end the call once the client knows; does not return.

        What `target` is, the client's application or the telephony vendor decides.
        """
        self._emit(TransferCall(target))
        await asyncio.get_running_loop().create_future()
        raise asyncio.CancelledError

    def interrupt(self) -> None:
        """Stop what is being said: `say` returns what was played."""
        self._parts.saying.interrupt()

    async def hang_up(self, reason: str = "") -> NoReturn:
        """End the call; does not return. The client gets `reason`; the session, with its state, is forgotten."""
        self._emit(HangUp(reason))
        await asyncio.get_running_loop().create_future()
        raise asyncio.CancelledError

    def consent_to_recording(self, is_given: bool) -> None:
        """Say whether the caller consents to a recording; a refusal deletes what was kept of sound and words."""
        self._emit(RecordingConsent(is_given))

    def events(self) -> AsyncIterator[CallEvent]:
        """Yield what happens between turns: the caller starts and stops speaking, partial transcripts."""
        return self._parts.feeds.events.open()

    def audio(self) -> AsyncIterator[UserAudio]:
        """Yield the caller's frames, PCM16 at the agent's `input_rate_hz`, as they come.

        With `CallOptions.listens` false nothing else reads them: then `understood` and `no_speech` acknowledge them.
        """
        return self._parts.feeds.audio.open()

    def understood(self, text: str, through_sequence: int) -> None:
        """Make a turn of these words, of the agent's own recognition, and of the frames up to `through_sequence`."""
        self._progress.understood(text, through_sequence)

    def no_speech(self, through_sequence: int) -> None:
        """Release frames that hold nothing to understand."""
        self._emit(NoSpeechUpTo(through_sequence))
