"""Toxiproxy's JSON: read as leniently as it reads, written as it writes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from omega_ai.testkit.faults import FAULTS, BadFault, build, toxiproxy_knows
from omega_ai.testkit.faults.model import STREAMS, Stream, Toxic, Window, place
from omega_ai.testkit.proxy.collection import ApiError, ProxySpec
from omega_ai.testkit.proxy.service import FaultProxy

MAX_TOXICS: Final = 200
_TOXIC_FIELDS: Final = ("name", "type", "stream", "toxicity", "attributes", "window")

T = TypeVar("T")


def bad_body(why: object) -> ApiError:
    """The answer to a body that cannot be read."""
    return ApiError(f"bad request body: {why}", 400)


def read_json(body: bytes) -> Any:
    """The first JSON value in ``body``; what follows it is ignored.

    Raises:
        ApiError: 400 there is none.
    """
    try:
        text = body.decode().lstrip()
        if not text:
            raise bad_body("EOF")
        return json.JSONDecoder(parse_constant=_refuse).raw_decode(text)[0]
    except json.JSONDecodeError as error:
        raise bad_body("unexpected EOF" if error.pos >= len(text.rstrip()) else error) from None
    except (ValueError, RecursionError) as error:
        raise bad_body(error) from None


def fields_of(value: Any, names: tuple[str, ...]) -> dict[str, Any]:
    """The known fields of an object, whatever their case; null and what is unknown counts as not there.

    A null in place of the object is an empty one.

    Raises:
        ApiError: 400 it is no object.
    """
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise bad_body(f"expected a JSON object, got {_kind(value)}")
    found: dict[str, Any] = {}
    for key, item in value.items():
        name = key if key in names else key.lower()
        if name in names and item is not None:
            found[name] = item
    return found


def read_proxy(value: Any, *, with_toxics: bool = False) -> ProxySpec:
    """A proxy that is described.

    Raises:
        ApiError: 400 a field has another type.
    """
    names = ("name", "listen", "upstream", "enabled", "tls")
    return convert(fields_of(value, (*names, "toxics") if with_toxics else names), ProxySpec)


def read_toxic(value: Any) -> Toxic:
    """A toxic that is to be created.

    Raises:
        ApiError: 400 a field or an attribute cannot be, or there is no such type or stream.
    """
    fields = fields_of(value, _TOXIC_FIELDS)
    kind = convert(fields.get("type", ""), str)
    given = convert(fields.get("stream", "downstream"), str)
    stream = _stream(given)
    name = convert(fields.get("name", ""), str) or f"{kind}_{given}"
    toxicity = convert(fields.get("toxicity", 1.0), float)
    window = convert(fields["window"], Window) if "window" in fields else None
    if kind not in FAULTS:
        raise ApiError("invalid toxic type", 400)
    attributes = fields_of(fields.get("attributes", {}), FAULTS[kind].__struct_fields__)
    try:
        fault = build(kind, attributes, strict=False)
        return place(fault, stream=stream, toxicity=toxicity, window=window, name=name[:200])
    except BadFault as error:
        raise bad_body(error) from None


def read_update(toxic: Toxic, value: Any) -> Toxic:
    """``toxic`` with what ``value`` says otherwise: attributes, toxicity, and ours: the window.

    Raises:
        ApiError: 400 a field or an attribute cannot be.
    """
    fields = fields_of(value, ("toxicity", "attributes", "window"))
    kind = toxic.fault.kind
    given = fields_of(fields.get("attributes", {}), FAULTS[kind].__struct_fields__)
    window = convert(fields["window"], Window) if "window" in fields else toxic.window
    try:
        fault = build(kind, {**msgspec.structs.asdict(toxic.fault), **given}, strict=False)
        return place(
            fault,
            stream=toxic.stream,
            toxicity=convert(fields.get("toxicity", toxic.toxicity), float),
            window=window,
            name=toxic.name,
        )
    except BadFault as error:
        raise bad_body(error) from None


def show_toxic(toxic: Toxic) -> dict[str, Any]:
    """A toxic as it is answered; where Toxiproxy knows its type, the attributes that it has there, unless
    used."""
    shown: dict[str, Any] = {
        "attributes": _attributes(toxic),
        "name": toxic.name,
        "type": toxic.fault.kind,
        "stream": toxic.stream,
        "toxicity": int(toxic.toxicity) if toxic.toxicity in (0.0, 1.0) else toxic.toxicity,
    }
    if toxic.window is not None:
        shown["window"] = msgspec.to_builtins(toxic.window)
    return shown


def show_toxics(proxy: FaultProxy) -> list[dict[str, Any]]:
    """All toxics: those on the way to the server first."""
    return [show_toxic(toxic) for stream in STREAMS for toxic in proxy.toxics if toxic.stream == stream]


def show_proxy(proxy: FaultProxy) -> dict[str, Any]:
    """A proxy as it is answered."""
    shown: dict[str, Any] = {
        "name": proxy.name,
        "listen": proxy.listen,
        "upstream": proxy.upstream,
        "enabled": proxy.enabled,
    }
    if proxy.tls is not None:
        shown["tls"] = {"ca": str(proxy.ca) if proxy.ca is not None else None}
    shown["toxics"] = show_toxics(proxy)
    return shown


def convert(value: Any, kind: type[T]) -> T:
    """``value`` as ``kind``.

    Raises:
        ApiError: 400 it is something else.
    """
    try:
        return msgspec.convert(value, kind, dec_hook=_path)
    except msgspec.ValidationError as error:
        raise bad_body(error) from None


def _attributes(toxic: Toxic) -> Mapping[str, Any]:
    fault = toxic.fault
    values = msgspec.structs.asdict(fault)
    if not toxiproxy_knows(fault.kind):
        return values
    ours = {"distribution", "shared"}
    defaults = {field.name: field.default for field in msgspec.structs.fields(fault)}
    return {name: value for name, value in values.items() if name not in ours or value != defaults[name]}


def _stream(text: str) -> Stream:
    for stream in STREAMS:
        if text.lower() == stream:
            return stream
    raise ApiError("stream was invalid, can be either upstream or downstream", 400)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _path(kind: type, value: Any) -> Any:
    if kind is Path and isinstance(value, str) and "\0" not in value:
        return Path(value)
    raise TypeError(f"expected a path, got {_kind(value)}")


def _kind(value: Any) -> str:
    names = {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
