"""Checks messages of OpenAI's WebSockets with OpenAI's own models, which let keys pass that they do not know."""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping
from typing import Any

import pydantic
from openai.types.live.client_event import ClientEvent as LiveClientEvent
from openai.types.live.server_event import ServerEvent as LiveServerEvent
from openai.types.realtime.realtime_client_event import RealtimeClientEvent
from openai.types.realtime.realtime_server_event import RealtimeServerEvent


class NotOfTheProtocol(ValueError):  # noqa: N818 - it says what is wrong
    """A message has a type or a key that the models do not have."""


def unknown_keys(value: object, path: str = "") -> Iterator[str]:
    """The keys of a validated message that no model has."""
    if isinstance(value, pydantic.BaseModel):
        yield from (path + key for key in value.model_extra or {})
        for name in type(value).model_fields:
            yield from unknown_keys(getattr(value, name), f"{path}{name}.")
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from unknown_keys(each, f"{path}{index}.")


def models_by_type(union: Any) -> dict[str, type[pydantic.BaseModel]]:
    while typing.get_origin(union) is typing.Annotated:
        union = typing.get_args(union)[0]
    found = {}
    for model in typing.get_args(union):
        for name in typing.get_args(model.model_fields["type"].annotation):
            found[name] = model
    return found


class Checker:
    """Checks one direction."""

    def __init__(self, union: Any) -> None:
        self._models = models_by_type(union)

    def check(self, message: Mapping[str, Any]) -> None:
        """Raise where the message is none of this direction's."""
        model = self._models.get(message.get("type", ""))
        if model is None:
            raise NotOfTheProtocol(f"unknown type {message.get('type')!r}")
        try:
            checked = model.model_validate(message, strict=True)
        except pydantic.ValidationError as error:
            raise NotOfTheProtocol(str(error)) from error
        if unknown := list(unknown_keys(checked)):
            raise NotOfTheProtocol(f"{message['type']}: unknown keys {unknown}")


REALTIME_UP, REALTIME_DOWN = Checker(RealtimeClientEvent), Checker(RealtimeServerEvent)
LIVE_UP, LIVE_DOWN = Checker(LiveClientEvent), Checker(LiveServerEvent)
