"""`voice-gateway token` and `voice-gateway key`: access tokens, and the keys that they are signed with."""

from __future__ import annotations

import os
import re
import secrets
import time
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from quiclb.logs.command_output import print_json
from voice_gateway.access.keys import AccessKey, signing_key
from voice_gateway.access.tokens import DEFAULT_AUDIENCE, MAX_SUBJECT_CHARACTERS, mint
from voice_gateway.errors import ConfigurationError
from voice_gateway.settings.access_sections import AccessSection
from voice_gateway.settings.fields import check_origin, read_text
from voice_gateway.settings.gateway_settings import load_settings

_UNITS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_LONGEST_S: Final = 3650 * 86_400
_SECRET_VARIABLE: Final = "VOICE_GATEWAY_ACCESS_SECRET"  # noqa: S105 - the name of one


class Algorithm(StrEnum):
    """HS256: one secret signs and checks. ES256: a private key signs, its public one checks."""

    HS256 = "HS256"
    ES256 = "ES256"


def token(
    subject: Annotated[str, typer.Option("--subject", "-s", help="Whom the token is for, as the limits count it.")],
    expires_in: Annotated[str, typer.Option(help="How long it is good: 90s, 15m, 1h, 30d.")] = "1h",
    starts_in: Annotated[str, typer.Option(help="How long it is not good yet.")] = "0s",
    audience: Annotated[
        str | None, typer.Option(help=f"The service it is for. Default: {DEFAULT_AUDIENCE}, or what --config says.")
    ] = None,
    issuer: Annotated[str | None, typer.Option(help="Who makes it. Default: what --config says.")] = None,
    key_file: Annotated[
        Path | None,
        typer.Option(
            help=f"What signs it: a P-256 private key in PEM or a secret. Default: ${_SECRET_VARIABLE}, or --config's."
        ),
    ] = None,
    key_id: Annotated[
        str | None, typer.Option(help="What the workers call the key. Default: its file's name without suffix.")
    ] = None,
    origin: Annotated[
        list[str] | None, typer.Option(help="Pages of this origin may use it; repeatable. Default: any.")
    ] = None,
    agent: Annotated[list[str] | None, typer.Option(help="It is for this agent; repeatable. Default: any.")] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", "-c", envvar="VOICE_GATEWAY_CONFIG", help="A worker's TOML file, for what is not given."
        ),
    ] = None,
    is_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")] = False,
) -> None:
    """Print an access token, signed by a key that the workers check with.

    Example: voice-gateway token --subject alice --expires-in 15m --key-file keys/2026-11.key
    """
    access = AccessSection() if config is None else load_settings(config, os.environ).access
    if not 0 < len(subject) <= MAX_SUBJECT_CHARACTERS:
        raise ConfigurationError(f"--subject must have 1 to {MAX_SUBJECT_CHARACTERS} characters, got {len(subject)}")
    lifetime_s, starts_in_s = _seconds("--expires-in", expires_in), _seconds("--starts-in", starts_in)
    if not lifetime_s:
        raise ConfigurationError("--expires-in must be more than nothing")
    for each in origin or ():
        try:
            check_origin(each)
        except ValueError as fault:
            raise ConfigurationError(f"--origin: {fault}") from None
    if lifetime_s > access.max_lifetime_s:
        whose = "the default of access.max_lifetime_s" if config is None else "access.max_lifetime_s"
        message = f"--expires-in is {lifetime_s} s, {whose} is {access.max_lifetime_s:g}: raise it, or ask for less"
        if config is not None:
            raise ConfigurationError(message)
    key = _signing_key(key_file, key_id, access)
    if lifetime_s > access.max_lifetime_s:
        typer.echo(f"voice-gateway: workers may refuse this token: {message}", err=True)
    now = time.time()
    audience = audience or access.audience
    made = mint(
        key,
        subject=subject,
        now=now,
        lifetime_s=lifetime_s,
        starts_in_s=starts_in_s,
        audience=audience,
        issuer=issuer or access.issuer,
        origins=origin or (),
        agents=agent or (),
    )
    if not is_json:
        print(made)
        return
    expires = datetime.fromtimestamp(int(now) + starts_in_s + lifetime_s, UTC)
    facts = {"token": made, "subject": subject, "audience": audience, "expires": f"{expires:%Y-%m-%dT%H:%M:%SZ}"}
    print_json(facts | {"algorithm": key.algorithm, "key_id": key.id or None})


def key(
    name: Annotated[str, typer.Argument(help="The key's ID, as 2026-11; its files are named so.")],
    algorithm: Annotated[
        Algorithm, typer.Option(help="ES256: a key pair. HS256: one secret for signers and workers.")
    ] = Algorithm.ES256,
    out: Annotated[Path, typer.Option(help="The folder for it.")] = Path("keys"),
    is_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")] = False,
) -> None:
    """Make a key for access tokens: NAME.key signs and stays with its owner, NAME.pub is for the workers.

    A secret of HS256 is NAME.key alone. Nothing that exists is written over.
    """
    if not re.fullmatch(r"[\w.-]{1,64}", name) or name.startswith("."):
        raise ConfigurationError(f"a key's ID has up to 64 letters, digits, dots and dashes, got {name!r}")
    private, public = out / f"{name}.key", out / f"{name}.pub"
    try:
        out.mkdir(parents=True, exist_ok=True)
        if algorithm is Algorithm.HS256:
            _write(private, f"{secrets.token_urlsafe(32)}\n".encode(), mode=0o600)
        else:
            pair = ec.generate_private_key(ec.SECP256R1())
            _write(private, pair.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), mode=0o600)
            _write(public, pair.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), mode=0o644)
    except OSError as error:
        raise ConfigurationError(f"{error.filename or out}: {(error.strerror or str(error)).lower()}") from None
    checks = private if algorithm is Algorithm.HS256 else public
    if is_json:
        facts = {"key_id": name, "algorithm": algorithm.value, "signs": str(private), "checks": str(checks)}
        print_json(facts)
        return
    print(f"{private}: signs access tokens; keep it secret")
    print(f'{checks}: for the workers: key_files = ["{checks}"] in [access]')


def _signing_key(file: Path | None, key_id: str | None, access: AccessSection) -> AccessKey:
    if file is not None:
        text = read_text(f"--key-file {file}", file)
        try:
            return signing_key(file.stem if key_id is None else key_id, text)
        except ConfigurationError as fault:
            raise ConfigurationError(f"--key-file {file}: {fault}") from None
    secret = os.environ.get(_SECRET_VARIABLE)
    if secret:
        try:
            return signing_key(key_id or "", secret)
        except ConfigurationError as fault:
            raise ConfigurationError(f"{_SECRET_VARIABLE}: {fault}") from None
    found = next((each for each in access.read_keys() if each.algorithm == "HS256"), None)
    if found is None:
        raise ConfigurationError(f"give --key-file, {_SECRET_VARIABLE}, or the --config of a worker that has a secret")
    return found


def _seconds(option: str, text: str) -> int:
    found = re.fullmatch(r"(\d{1,9})([smhd]?)", text.strip())
    if found is None:
        raise ConfigurationError(f"{option} must look like 90s, 15m, 1h or 30d, got {text!r}")
    seconds = int(found[1]) * _UNITS_S[found[2] or "s"]
    if seconds > _LONGEST_S:
        raise ConfigurationError(f"{option} must be at most 3650d, got {text!r}")
    return seconds


def _write(path: Path, content: bytes, *, mode: int) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
