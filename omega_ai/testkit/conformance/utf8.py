"""Text that is UTF-8 and text that is not, in every way it can be cut (RFC 6455 section 8.1, RFC 3629)."""

from __future__ import annotations

from typing import Final

from omega_ai.testkit.case import Need
from omega_ai.testkit.conformance.exchange import GLANCE, Check, Exchange, pause
from omega_ai.testkit.conformance.family import Family
from omega_ai.testkit.conformance.frames import CONTINUATION, PING, TEXT, frame

FAMILY: Final = Family("utf8", "UTF-8", "RFC 6455 section 8.1")

PROMPT: Final = 4 * GLANCE
"""Seconds in which a server that looks at bytes as they come has failed a connection, on a loaded machine."""

VALID: Final[tuple[tuple[str, str], ...]] = (
    ("ascii", "Hello, world"),
    ("latin", "Grüße aus Zürich"),
    ("greek", "κόσμε"),
    ("mixed", "κόσμε ÄÖÜ 日本語 € 🚀"),
    ("first-1-byte", "\u0001"),
    ("nul", "a\u0000b"),
    ("first-2-bytes", "\u0080"),
    ("last-1-byte", "\u007f"),
    ("last-2-bytes", "\u07ff"),
    ("first-3-bytes", "\u0800"),
    ("last-3-bytes", "\uffff"),
    ("before-surrogates", "\ud7ff"),
    ("after-surrogates", "\ue000"),
    ("private", "\uf8ff"),
    ("replacement", "\ufffd"),
    ("byte-order-mark", "\ufeffmarked"),
    ("non-characters", "\ufffe\uffff\ufdd0\ufdef"),
    ("first-4-bytes", "\U00010000"),
    ("last-4-bytes", "\U0010ffff"),
    ("private-planes", "\U000fffff\U00100000"),
    ("emoji-joined", "👩‍💻🏳️‍🌈"),
    ("combining", "e\u0301\u0327"),
    ("right-to-left", "\u202e\u05e9\u05dc\u05d5\u05dd"),
    *(
        (f"plane-{plane}-end", chr((plane << 16) + 0xFFFE) + chr((plane << 16) + 0xFFFF))
        for plane in range(1, 17)
    ),
)

INVALID: Final[tuple[tuple[str, bytes], ...]] = (
    ("lone-continuation-80", b"\x80"),
    ("lone-continuation-bf", b"\xbf"),
    *((f"lone-continuations-{n}", b"\x80\xbf" * (n // 2) + b"\x80" * (n % 2)) for n in range(2, 8)),
    ("all-continuations", bytes(range(0x80, 0xC0))),
    *((f"lone-lead-{lead:02x}", bytes((lead,)) + b" ") for lead in range(0xC0, 0x100, 4)),
    ("all-leads-2", b"".join(bytes((lead, 0x20)) for lead in range(0xC0, 0xE0))),
    ("all-leads-3", b"".join(bytes((lead, 0x20)) for lead in range(0xE0, 0xF0))),
    ("all-leads-4", b"".join(bytes((lead, 0x20)) for lead in range(0xF0, 0xF8))),
    ("cut-2", b"\xdf"),
    ("cut-3-of-1", b"\xe0"),
    ("cut-3-of-2", b"\xe0\xa0"),
    ("cut-4-of-1", b"\xf0"),
    ("cut-4-of-2", b"\xf0\x90"),
    ("cut-4-of-3", b"\xf0\x90\x80"),
    ("cut-before-ascii", b"\xe2\x82A"),
    ("cut-all", b"\xc3\xe2\x82\xf0\x9f\x98"),
    ("fe", b"\xfe"),
    ("ff", b"\xff"),
    ("fe-ff", b"\xfe\xfe\xff\xff"),
    ("overlong-slash-2", b"\xc0\xaf"),
    ("overlong-slash-3", b"\xe0\x80\xaf"),
    ("overlong-slash-4", b"\xf0\x80\x80\xaf"),
    ("overlong-slash-5", b"\xf8\x80\x80\x80\xaf"),
    ("overlong-slash-6", b"\xfc\x80\x80\x80\x80\xaf"),
    ("overlong-most-2", b"\xc1\xbf"),
    ("overlong-most-3", b"\xe0\x9f\xbf"),
    ("overlong-most-4", b"\xf0\x8f\xbf\xbf"),
    ("overlong-most-5", b"\xf8\x87\xbf\xbf\xbf"),
    ("overlong-most-6", b"\xfc\x83\xbf\xbf\xbf\xbf"),
    ("overlong-nul-2", b"\xc0\x80"),
    ("overlong-nul-3", b"\xe0\x80\x80"),
    ("overlong-nul-4", b"\xf0\x80\x80\x80"),
    ("overlong-nul-5", b"\xf8\x80\x80\x80\x80"),
    ("overlong-nul-6", b"\xfc\x80\x80\x80\x80\x80"),
    ("five-bytes", b"\xf8\x88\x80\x80\x80"),
    ("five-bytes-last", b"\xfb\xbf\xbf\xbf\xbf"),
    ("six-bytes", b"\xfc\x84\x80\x80\x80\x80"),
    ("six-bytes-last", b"\xfd\xbf\xbf\xbf\xbf\xbf"),
    ("above-10ffff", b"\xf4\x90\x80\x80"),
    ("above-f5", b"\xf5\x80\x80\x80"),
    ("above-f7", b"\xf7\xbf\xbf\xbf"),
    *((f"surrogate-{code:x}", chr(code).encode("utf-8", "surrogatepass"))
      for code in (0xD800, 0xDB7F, 0xDB80, 0xDBFF, 0xDC00, 0xDF80, 0xDFFF)),
    *((f"surrogates-{high:x}-{low:x}", (chr(high) + chr(low)).encode("utf-8", "surrogatepass"))
      for high in (0xD800, 0xDB7F, 0xDBFF) for low in (0xDC00, 0xDFFF)),
    ("greek-then-broken", "κόσμε".encode() + b"\xed\xa0\x80" + b"edited"),
    ("greek-then-too-high", "κόσμε".encode() + b"\xf4\x90\x80\x80" + b"edited"),
    ("latin-1", "Grüße".encode("latin-1")),
)  # fmt: skip
"""Sequences that RFC 3629 section 3 does not allow."""


def _valid(text: str) -> Check:
    async def check(x: Exchange) -> None:
        payload = x.speech.text(text)
        wire = await x.open()
        x.send(wire, TEXT, payload)
        await x.answers(wire, [(TEXT, payload)])
        for place in range(len(payload) + 1):  # cut in two fragments at every place
            x.send(wire, TEXT, payload[:place], fin=False)
            x.send(wire, CONTINUATION, payload[place:])
        await x.answers(wire, [(TEXT, payload)] * (len(payload) + 1))
        for place, byte in enumerate(payload):  # every byte a fragment
            last = place == len(payload) - 1
            x.send(wire, CONTINUATION if place else TEXT, bytes((byte,)), fin=last)
        await x.answers(wire, [(TEXT, payload)])
        for byte in frame(TEXT, payload, mask=x.mask()):  # every byte a segment
            wire.send(bytes((byte,)), text="a byte")
            await pause(0)
        await x.answers(wire, [(TEXT, payload)])
        await x.finish(wire)
        await x.nothing_more(wire)

    return check


for _name, _text in VALID:
    FAMILY.add(
        f"valid-{_name}",
        f"Valid text {_text!a}, whole and cut at every place",
        _valid(_text),
        expectation="It comes back every time, wherever fragments and segments end.",
        needs=[Need.ECHO],
        destructive=False,
    )


def _invalid(data: bytes, how: str) -> Check:
    async def check(x: Exchange) -> None:
        await x.bystander()
        wire = await x.open()
        if how == "whole":
            x.send(wire, TEXT, data)
        elif how == "bytes":
            for place, byte in enumerate(data):
                x.send(wire, CONTINUATION if place else TEXT, bytes((byte,)), fin=False)
            x.send(wire, CONTINUATION)
        else:
            x.send(wire, TEXT, b"before " + data + b" after" * 20)
        await x.fails(wire, (1007,), what="the invalid text")

    return check


_HOW: Final = {"whole": "", "bytes": ", every byte a fragment", "inside": ", inside of valid text"}
for _name, _data in INVALID:
    for _way, _said in _HOW.items():
        if _way == "inside" and _name.startswith("cut-") and _name not in ("cut-before-ascii", "cut-2"):
            continue  # then it is what cut-before-ascii is
        FAMILY.add(
            f"invalid-{_name}" + ("" if _way == "whole" else f"-{_way}"),
            f"Invalid text {_data[:12].hex(' ')}{_said}",
            _invalid(_data, _way),
            expectation="The connection is failed with 1007, and the text is not delivered.",
        )


def _early(text: bytes, place: int, *, in_frame: bool) -> Check:
    """``text`` is wrong from ``place`` on; what comes before it is sent first, and then the wrong byte."""

    async def check(x: Exchange) -> None:
        await x.bystander()
        wire = await x.open()
        if in_frame:
            data = frame(TEXT, text, mask=x.mask())
            head = len(data) - len(text)
            wire.send(data[: head + place], text="the valid part of a frame")
            await pause(GLANCE / 4)
            if wire.over:
                x.broken("refused", "it failed the connection before there was anything wrong")
            wire.send(data[head + place : head + place + 1], text="the byte that makes it wrong")
            if not await wire.until(lambda: wire.over, PROMPT):
                x.should(f"{PROMPT:g} s after the wrong byte it still waits for the rest of the frame")
                wire.send(data[head + place + 1 :], text="the rest of the frame")
        else:
            x.send(wire, TEXT, text[:place], fin=False)
            x.send(wire, PING, b"valid so far")
            await x.pong(wire, b"valid so far")
            x.send(wire, CONTINUATION, text[place : place + 1], fin=False)
            x.send(wire, PING, b"wrong now")
            await wire.until(lambda: wire.over or b"wrong now" in wire.reader.pongs, x.patience)
            if b"wrong now" in wire.reader.pongs:
                await wire.until(lambda: wire.over, GLANCE)
            if not wire.over:
                x.should("after the fragment with the wrong byte it still waits for the end of the message")
                x.send(wire, CONTINUATION, text[place + 1 :])
        await x.fails(wire, (1007,), what="the invalid text")

    return check


_GOOD: Final = "κόσμε".encode()
for _name, _bytes, _place in (
    ("surrogate", _GOOD + b"\xed\xa0\x80" + b"edited", len(_GOOD) + 1),
    ("too-high", _GOOD + b"\xf4\x90\x80\x80" + b"edited", len(_GOOD) + 1),
    ("too-high-f5", _GOOD + b"\xf5\x80\x80\x80" + b"edited", len(_GOOD)),
    ("overlong-2", b"plain \xc0\xaf plain", 6),
    ("overlong-3", b"plain \xe0\x80\xaf plain", 7),
    ("overlong-4", b"plain \xf0\x80\x80\xaf plain", 7),
    ("lone-continuation", b"plain \x80 plain", 6),
    ("cut", b"plain \xe2\x82 plain", 8),
    ("ff", b"plain \xff plain", 6),
):
    for _flag in (False, True):
        FAMILY.add(
            f"early-{_name}" + ("-in-frame" if _flag else "-in-fragments"),
            f"Text that is wrong from byte {_place} on, the rest still to come "
            + ("in the same frame" if _flag else "in another fragment"),
            _early(_bytes, _place, in_frame=_flag),
            expectation="The connection is failed with 1007, at best before the message is complete.",
        )


async def _binary_is_free(x: Exchange) -> None:
    """What is no text need not be UTF-8."""
    payload = x.speech.payload(2, 512)
    wire = await x.open()
    x.send(wire, 2, payload)
    x.send(wire, 2, payload[:129], fin=False)
    x.send(wire, 0, payload[129:])
    await x.answers(wire, [(2, payload)] * 2)
    await x.finish(wire)


FAMILY.add(
    "binary-is-free",
    "Bytes that are no UTF-8, in binary messages",
    _binary_is_free,
    expectation="They come back: only text is UTF-8.",
    needs=[Need.ECHO],
    destructive=False,
)
