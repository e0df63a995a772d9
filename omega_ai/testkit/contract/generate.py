"""From a JSON Schema to messages: valid ones that favour bounds, and such as break it in one place."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from hypothesis import find
from hypothesis import strategies as st

from omega_ai.testkit.contract.document import Contract, MessageType
from omega_ai.testkit.contract.step import Step

Strategy = st.SearchStrategy[Any]
TEXT_LIMIT: Final = 200
SIZE_LIMIT: Final = 100_000
"""Characters up to which a bound on a text is tried."""
ITEMS: Final = 4
DEPTH: Final = 6
INTEGERS: Final = (-(2**53) + 1, 2**53 - 1)
"""What every reader of JSON keeps."""


def values(contract: Contract, schema: Mapping[str, Any], depth: int = 0) -> Strategy:
    """Values that are valid by ``schema``, as far as it is understood; bounds come often."""
    schema = contract.resolve(schema)
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(list(schema["enum"]))
    for word in ("anyOf", "oneOf"):
        if word in schema:
            return st.one_of([values(contract, part, depth) for part in schema[word]])
    if "allOf" in schema:
        return values(contract, _merged(contract, schema), depth)
    kinds = schema.get("type", "object" if "properties" in schema else None)
    if isinstance(kinds, list):
        return st.one_of([values(contract, {**schema, "type": kind}, depth) for kind in kinds])
    match kinds:
        case "object":
            return _objects(contract, schema, depth)
        case "array":
            return _arrays(contract, schema, depth)
        case "string":
            return _strings(schema)
        case "integer":
            return _integers(schema)
        case "number":
            return _numbers(schema)
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
    return st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.text("ab", max_size=3))


def _merged(contract: Contract, schema: Mapping[str, Any]) -> dict[str, Any]:
    whole: dict[str, Any] = {key: value for key, value in schema.items() if key != "allOf"}
    for part in schema["allOf"]:
        found = contract.resolve(part)
        if "allOf" in found:
            found = _merged(contract, found)
        for key, value in found.items():
            if key == "properties":
                whole[key] = {**whole.get(key, {}), **value}
            elif key == "required":
                whole[key] = [*whole.get(key, ()), *value]
            else:
                whole.setdefault(key, value)
    return whole


def _objects(contract: Contract, schema: Mapping[str, Any], depth: int) -> Strategy:
    required = dict.fromkeys(schema.get("required", ()))
    given = schema.get("properties", {})
    always = {name: _named(contract, name, given.get(name, {}), depth + 1) for name in required}
    optional = {
        name: _named(contract, name, part, depth + 1)
        for name, part in given.items()
        if name not in required and depth < DEPTH
    }
    more = schema.get("additionalProperties")
    if not given and isinstance(more, Mapping) and depth < DEPTH:
        size = schema.get("maxProperties", ITEMS)
        names = st.text("abc", min_size=1, max_size=4)
        return st.dictionaries(names, values(contract, more, depth + 1), max_size=min(size, ITEMS))
    return st.fixed_dictionaries(always, optional=optional)


def _named(contract: Contract, name: str, schema: Mapping[str, Any], depth: int) -> Strategy:
    """Values of a property: three in four times one of the examples for its name, if there are any."""
    examples = [*contract.examples.get(name, ()), *contract.resolve(schema).get("examples", ())]
    anything = values(contract, schema, depth)
    if not examples:
        return anything
    known = st.sampled_from(examples)
    return st.one_of(known, known, known, anything)


def _arrays(contract: Contract, schema: Mapping[str, Any], depth: int) -> Strategy:
    least, most = schema.get("minItems", 0), schema.get("maxItems")
    item = values(contract, schema.get("items", {}), depth + 1)
    options = [st.lists(item, min_size=least, max_size=max(least, min(most or ITEMS, ITEMS)))]
    if most is not None and most <= 1000:  # the bound itself, of one item
        options.append(st.builds(lambda one: [one] * most, item))
    return st.one_of(options)


def _strings(schema: Mapping[str, Any]) -> Strategy:
    if "pattern" in schema:
        return st.from_regex(schema["pattern"]).filter(lambda text: "\n" not in text)
    if schema.get("format") == "date-time":
        return st.datetimes().map(lambda at: at.isoformat(timespec="microseconds") + "Z")
    least, most = schema.get("minLength", 0), schema.get("maxLength")
    bound = max(least, min(TEXT_LIMIT if most is None else most, TEXT_LIMIT))
    plain = st.text(
        st.characters(exclude_categories=["Cs"]), min_size=least, max_size=min(bound, max(least, 12))
    )
    sizes = {least, bound, *([most] if most is not None and most < SIZE_LIMIT else [])}
    return st.one_of(plain, st.sampled_from(sorted(sizes)).map(lambda size: "x" * size))


def _integers(schema: Mapping[str, Any]) -> Strategy:
    low, high = _bounds(schema, *INTEGERS)
    low, high = math.ceil(low), math.floor(high)
    edges = sorted({edge for edge in (low, low + 1, high - 1, high, 0, 1) if low <= edge <= high})
    return st.one_of(st.integers(low, high), st.sampled_from(edges)).filter(_multiple(schema))


def _numbers(schema: Mapping[str, Any]) -> Strategy:
    low, high = _bounds(schema, -1e15, 1e15, step=0.01)
    edges = sorted({edge for edge in (low, high, 0, 1, 0.5) if low <= edge <= high})
    floats = st.floats(low, high, allow_nan=False, allow_infinity=False, allow_subnormal=False)
    whole = [st.integers(math.ceil(low), math.floor(high))] if math.ceil(low) <= math.floor(high) else []
    return st.one_of(*whole, floats, st.sampled_from(edges)).filter(_multiple(schema))


def _bounds(schema: Mapping[str, Any], low: float, high: float, step: float = 1) -> tuple[float, float]:
    if "minimum" in schema or "exclusiveMinimum" in schema:
        low = max(schema.get("minimum", -math.inf), schema.get("exclusiveMinimum", -math.inf) + step)
    if "maximum" in schema or "exclusiveMaximum" in schema:
        high = min(schema.get("maximum", math.inf), schema.get("exclusiveMaximum", math.inf) - step)
    return low, high


def _multiple(schema: Mapping[str, Any]) -> Any:
    step = schema.get("multipleOf")
    return (lambda _: True) if step is None else (lambda value: value % step == 0)


def valid_steps(contract: Contract, kinds: list[MessageType]) -> Strategy:
    """Messages that the server takes."""

    def of(kind: MessageType) -> Strategy:
        right = values(contract, kind.schema).filter(lambda message: contract.fault(kind, message) is None)
        return right.map(lambda message: Step(_text(message), kind.name, True))

    return st.one_of([of(kind) for kind in kinds])


ODD: Final[tuple[Any, ...]] = (
    None,
    True,
    False,
    0,
    -1,
    1.5,
    10**18,
    "",
    "x",
    "x" * 300,
    [],
    {},
    [None],
    {"a": 1},
)
"""Values one of which nearly every schema refuses."""
NO_MESSAGES: Final = ("{", "", "[1,2]", '"text"', "5", "null", '{"type":', "\u0000", '{"type":5}', "{}")


def invalid_steps(contract: Contract, kinds: list[MessageType]) -> Strategy:
    """Messages that break the contract in one place: a field less, of another type, beyond its bound."""

    def broken(kind: MessageType) -> Strategy:
        def change(message: Any) -> Strategy:
            if not isinstance(message, dict):
                return st.sampled_from(ODD)
            schema = contract.resolve(kind.schema)
            schema = _merged(contract, schema) if "allOf" in schema else schema
            options: list[Strategy] = [
                st.just({key: value for key, value in message.items() if key != name})
                for name in schema.get("required", ())
            ]
            for name, part in schema.get("properties", {}).items():
                wrong = st.sampled_from([*_beyond(contract.resolve(part)), *ODD])
                options.append(wrong.map(_putting(message, name)))
            return st.one_of(options) if options else st.sampled_from(ODD)

        wrong = values(contract, kind.schema).flatmap(change).filter(lambda m: contract.taken(m) is None)
        return wrong.map(lambda message: Step(_text(message), kind.name, False))

    texts = [text for text in NO_MESSAGES if _is_wrong(contract, text)]
    return st.one_of([*(broken(kind) for kind in kinds), st.sampled_from(texts).map(_no_message)])


def _putting(message: dict[str, Any], name: str) -> Callable[[Any], dict[str, Any]]:
    return lambda value: {**message, name: value}


def edges(contract: Contract, kind: MessageType, *, valid: bool) -> list[Step]:
    """Messages with one field at its bound (``valid``), or just beyond it: all of them, always the same."""
    least = find(values(contract, kind.schema), lambda message: contract.fault(kind, message) is None)
    if not isinstance(least, dict):
        return []
    schema = contract.resolve(kind.schema)
    schema = _merged(contract, schema) if "allOf" in schema else schema
    found: list[dict[str, Any]] = [least] if valid else []
    if not valid:
        found += [{k: v for k, v in least.items() if k != name} for name in schema.get("required", ())]
    for name, part in schema.get("properties", {}).items():
        bounds = (_within if valid else _beyond)(contract.resolve(part))
        found += [{**least, name: value} for value in bounds]
    steps = [
        Step(_text(message), kind.name, valid)
        for message in found
        if (contract.fault(kind, message) is None if valid else contract.taken(message) is None)
    ]
    if not valid:
        steps += [_no_message(text) for text in NO_MESSAGES if _is_wrong(contract, text)]
    return list(dict.fromkeys(steps))


def _within(schema: Mapping[str, Any]) -> list[Any]:
    """Values at the bounds."""
    found: list[Any] = list(schema.get("enum", ()))
    for parts in (schema.get("anyOf", ()), schema.get("oneOf", ())):
        for part in parts:
            found += _within(part)
    found += [schema[word] for word in ("minimum", "maximum") if word in schema]
    for word in ("minLength", "maxLength"):
        if schema.get(word, SIZE_LIMIT) < SIZE_LIMIT:
            found.append("x" * schema[word])
    return found


def _no_message(text: str) -> Step:
    return Step(text, "no message", False)


def _is_wrong(contract: Contract, text: str) -> bool:
    try:
        return contract.taken(json.loads(text)) is None
    except ValueError:
        return True


def _beyond(schema: Mapping[str, Any]) -> list[Any]:
    """Values just outside of the bounds."""
    found: list[Any] = []
    for parts in (schema.get("anyOf", ()), schema.get("oneOf", ())):
        for part in parts:
            found += _beyond(part)
    for word, step in (("minimum", -1), ("maximum", 1), ("exclusiveMinimum", 0), ("exclusiveMaximum", 0)):
        if word in schema:
            found.append(schema[word] + step)
    if schema.get("minLength", 0) > 0:
        found.append("x" * (schema["minLength"] - 1))
    if schema.get("maxLength", SIZE_LIMIT) < SIZE_LIMIT:
        found.append("x" * (schema["maxLength"] + 1))
    if schema.get("minItems", 0) > 0:
        found.append([])
    if schema.get("maxItems", 10_000) <= 1000:
        found.append(["x"] * (schema["maxItems"] + 1))
    if "enum" in schema or "const" in schema:
        found.append("no such value")
    return found


def _text(message: Any) -> str:
    return json.dumps(message, ensure_ascii=False, separators=(",", ":"))
