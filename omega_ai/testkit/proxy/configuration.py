"""Proxies and toxics from files and from the command line."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Final

import msgspec

from omega_ai.testkit.faults import FAULTS, BadFault, build
from omega_ai.testkit.faults.model import STREAMS, Toxic, Window, place
from omega_ai.testkit.proxy.collection import ApiError, ProxySpec
from omega_ai.testkit.proxy.documents import read_json, read_proxy, read_toxic

MAX_FILE: Final = 1 << 20
_PLACE: Final = ("stream", "toxicity", "name")
_WINDOW: Final = ("start", "duration", "every")


class BadConfiguration(ValueError):
    """A file or an option cannot be used; the text says which, and what is wrong."""


def load_proxies(path: Path) -> list[ProxySpec]:
    """The proxies in a file: Toxiproxy's JSON array (``.json``), or the array of tables ``[[proxies]]`` in
    TOML.

    Each may have ``toxics``, written as the HTTP API has them.

    Raises:
        BadConfiguration: the file cannot be read, or something in it is wrong.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE + 1)
    except OSError as error:
        raise BadConfiguration(f"{path} cannot be read: {error.strerror}") from None
    if len(content) > MAX_FILE:
        raise BadConfiguration(f"{path} is larger than {MAX_FILE} bytes")
    try:
        listed = _listed(path, content)
        proxies = [read_proxy(item, with_toxics=True) for item in listed]
        for proxy in proxies:
            for toxic in proxy.toxics:
                read_toxic(toxic)
    except ApiError as error:
        raise BadConfiguration(f"{path}: {str(error).removeprefix('bad request body: ')}") from None
    for number, proxy in enumerate(proxies, start=1):
        if not proxy.name or not proxy.upstream:
            raise BadConfiguration(
                f"{path}: proxy {number} has no {'name' if not proxy.name else 'upstream'}"
            )
    return proxies


def parse_toxic(text: str) -> Toxic:
    """A toxic from one argument: ``latency:latency=100,jitter=20,stream=upstream,toxicity=0.5``.

    Behind the fault's name come its attributes, and any of ``stream``, ``toxicity``, ``name``, and of the
    window's ``start``, ``duration`` and ``every``, in seconds.

    Raises:
        BadConfiguration: not a toxic.
    """
    kind, _, rest = text.partition(":")
    fault = FAULTS.get(kind)
    attributes: dict[str, Any] = {}
    placing: dict[str, Any] = {}
    window: dict[str, Any] = {}
    for part in filter(None, rest.replace(";", ",").split(",")):
        name, equals, value = part.partition("=")
        if not equals:
            raise BadConfiguration(f"{text!r}: {part!r} is not NAME=VALUE")
        own = fault is not None and name in fault.__struct_fields__
        target = window if name in _WINDOW else placing if name in _PLACE and not own else attributes
        target[name] = value
    try:
        built = build(kind, {name: _value(value) for name, value in attributes.items()})
        return place(
            built,
            stream=_stream(placing.get("stream", "downstream")),
            toxicity=float(placing.get("toxicity", 1.0)),
            name=placing.get("name"),
            window=msgspec.convert(window, Window, strict=False) if window else None,
        )
    except (BadFault, ValueError) as error:
        raise BadConfiguration(f"{text!r}: {error}") from None


def _listed(path: Path, content: bytes) -> list[Any]:
    if path.suffix.lower() == ".json":
        value = read_json(content)
        if not isinstance(value, list):
            raise BadConfiguration(f"{path}: expected an array of proxies")
        return value
    try:
        value = tomllib.loads(content.decode()).get("proxies", [])
    except ValueError as error:
        raise BadConfiguration(f"{path} is not valid TOML: {error}") from None
    if not isinstance(value, list):
        raise BadConfiguration(f"{path}: write each proxy as a table [[proxies]]")
    return value


def _value(text: str) -> Any:
    """A number or a boolean, if it looks like one."""
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _stream(text: str) -> Any:
    if text not in STREAMS:
        raise BadFault(f"the stream is 'upstream' or 'downstream', not {text!r}")
    return text
