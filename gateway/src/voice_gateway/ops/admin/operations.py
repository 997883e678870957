"""The operations of the admin interface as a table: what answers each, who may ask, and its OpenAPI document.

A part of the worker brings its operations as a tuple of `Operation`; the composition root joins them.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final, TypeVar

import msgspec

from voice_gateway.errors import GatewayError
from voice_gateway.ops.admin.access import AdminToken
from voice_gateway.web.server import Answer, Handler, Route, WebRequest, WebResponse

Schema = Mapping[str, Any]
"""A JSON Schema, or a reference to one of the components."""
JSON: Final = "application/json"
API_VERSION: Final = "1.0"
Body = TypeVar("Body", bound=msgspec.Struct)


class RequestRefused(GatewayError):  # noqa: N818 - it says what happened
    """An operation cannot be carried out; raised by its handler, and answered with `status` and this sentence."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True, slots=True)
class NamedSchema:
    """The schema of an answer that is written by hand, and the components that it refers to."""

    name: str
    schema: Schema
    parts: tuple[NamedSchema, ...] = ()

    @property
    def reference(self) -> Schema:
        return {"$ref": f"#/components/schemas/{self.name}"}


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation: `handle` answers it, the rest is its line in the OpenAPI document.

    `{name}` in the path takes any one part of it, as `request.parameters`; `query` names parameters with what they
    mean. `handle` may raise `RequestRefused`. Without the admin token only those that are `is_open` are answered.
    `returns` is what the answer holds where its `media_type` is JSON and it is not just any object.
    """

    method: str
    path: str
    summary: str
    handle: Handler
    returns: NamedSchema | type | None = None
    body: type[msgspec.Struct] | None = None
    query: Mapping[str, str] = field(default_factory=dict)
    status: HTTPStatus = HTTPStatus.OK
    media_type: str = JSON
    is_open: bool = False


def taking(body: type[Body], handle: Callable[[WebRequest, Body], Answer | Awaitable[Answer]]) -> Handler:
    """Return a handler that reads the request's body as JSON of this type, and refuses what is not."""

    def read(request: WebRequest) -> Answer | Awaitable[Answer]:
        try:
            value = msgspec.json.decode(request.body or b"{}", type=body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise RequestRefused(HTTPStatus.BAD_REQUEST, f"the body is not what this takes: {error}") from None
        return handle(request, value)

    return read


def answer_json(document: object, status: HTTPStatus = HTTPStatus.OK) -> WebResponse:
    """Return an answer of plain values."""
    return WebResponse(status, content=msgspec.json.encode(document), content_type=JSON)


def routes_of(operations: Iterable[Operation], token: AdminToken) -> list[Route]:
    """Return the routes of a server that asks for the token, and the one of the OpenAPI document."""
    operations = (*operations, document_operation(operations))
    return [Route(each.method, each.path, _guarded(each, token)) for each in operations]


def document_operation(operations: Iterable[Operation]) -> Operation:
    """Return the operation that shows all others."""
    described = tuple(operations)
    return Operation(
        "GET",
        "/openapi.json",
        "This document.",
        lambda request: answer_json(openapi_document(described)),
        is_open=True,
    )


def openapi_document(operations: Sequence[Operation]) -> dict[str, Any]:
    """Describe the operations in OpenAPI 3.1."""
    bodies = [each.body for each in operations if each.body is not None]
    returned = [each.returns for each in operations if isinstance(each.returns, type)]
    types = list(dict.fromkeys((*bodies, *returned, Fault)))
    refs, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    schemas = dict(zip(types, refs, strict=True))
    for each in operations:
        if isinstance(each.returns, NamedSchema):
            components |= {named.name: named.schema for named in (each.returns, *each.returns.parts)}
    paths: dict[str, dict[str, Any]] = {}
    for each in operations:
        paths.setdefault(each.path, {})[each.method.lower()] = _described(each, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "voice-gateway worker", "version": API_VERSION, "description": _DESCRIPTION},
        "security": [{"bearer": []}, {"basic": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "basic": {
                    "type": "http",
                    "scheme": "basic",
                    "description": "Any user name; the token is the password.",
                },
            },
        },
    }


class Fault(msgspec.Struct, frozen=True):
    """Why a request is refused, in one sentence."""

    error: str


def fault(status: HTTPStatus, reason: str, headers: Mapping[str, str] | None = None) -> WebResponse:
    """Return the answer to a request that is refused."""
    return WebResponse(status, content=msgspec.json.encode(Fault(reason)), content_type=JSON, headers=headers or {})


def _guarded(operation: Operation, token: AdminToken) -> Handler:
    async def later(answer: Awaitable[Answer]) -> Answer:
        try:
            return await answer
        except RequestRefused as refused:
            return fault(refused.status, str(refused))

    def handle(request: WebRequest) -> Answer | Awaitable[Answer]:
        refusal = None if operation.is_open else token.refusal(request)
        if refusal is not None:
            return fault(refusal.status, refusal.reason, refusal.headers)
        try:
            answer = operation.handle(request)
        except RequestRefused as refused:
            return fault(refused.status, str(refused))
        return later(answer) if inspect.isawaitable(answer) else answer

    return handle


def _described(operation: Operation, schemas: Mapping[type, Schema]) -> dict[str, Any]:
    parts = [part[1:-1] for part in operation.path.split("/") if part.startswith("{")]
    parameters = [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in parts]
    parameters += [
        {"name": name, "in": "query", "description": text, "schema": {"type": "string"}}
        for name, text in operation.query.items()
    ]
    returns = operation.returns
    if isinstance(returns, NamedSchema):
        schema = returns.reference
    elif returns is not None:
        schema = schemas[returns]
    else:
        schema = {"type": "object" if operation.media_type == JSON else "string"}
    described: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": "_".join((operation.method.lower(), *_words(operation.path))),
        "responses": {
            str(operation.status.value): {
                "description": operation.status.phrase,
                "content": {operation.media_type: {"schema": schema}},
            },
            "default": {"description": "Refused.", "content": {JSON: {"schema": schemas[Fault]}}},
        },
    }
    if parameters:
        described["parameters"] = parameters
    if operation.body is not None:
        described["requestBody"] = {"content": {JSON: {"schema": schemas[operation.body]}}}
    if operation.is_open:
        described["security"] = []
    return described


def _words(path: str) -> list[str]:
    return [part.strip("{}").replace("-", "_").replace(".", "_") for part in path.split("/") if part]


def openapi_text(operations: Sequence[Operation]) -> str:
    """Return the document as it is kept in `gateway/docs/openapi.json`."""
    document = openapi_document((*operations, document_operation(operations)))
    return json.dumps(document, indent=1, sort_keys=True) + "\n"


_DESCRIPTION: Final = (
    "What an operator may see of a worker's sessions, and do with them. All but the open operations need the token of "
    "`admin.token_file` as `Authorization: Bearer TOKEN`; without that setting they are off."
)
