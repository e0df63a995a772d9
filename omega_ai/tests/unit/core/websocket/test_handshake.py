"""The opening handshake without a connection (RFC 6455 section 4)."""

from __future__ import annotations

import pytest

from omega_ai.core.websocket.deflate import DeflateParams
from omega_ai.core.websocket.handshake import (
    HEADERS_LIMIT,
    HandshakeError,
    Refusal,
    Upgrade,
    accept_value,
    build_request,
    check_response,
    check_upgrade,
    new_key,
    parse_request,
    parse_response,
)
from omega_ai.tests.unit.core.websocket.wire import KEY, REQUEST, response


def upgrade(text: str, **how: object) -> Upgrade:
    """What is answered to a request."""
    return check_upgrade(parse_request(text.encode("latin-1").removesuffix(b"\r\n")), **how)  # type: ignore[arg-type]


def refusal(text: str) -> Refusal:
    """Why a request is refused."""
    with pytest.raises(Refusal) as caught:
        upgrade(text)
    return caught.value


def without(name: str) -> str:
    """The good request without one header."""
    return "".join(line for line in REQUEST.splitlines(keepends=True) if not line.startswith(name))


def test_the_example_of_the_rfc() -> None:
    """Section 1.3."""
    assert accept_value(KEY) == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert dict(upgrade(REQUEST).headers) == {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Accept": "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
    }


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Connection: Upgrade", "Connection: keep-alive, Upgrade"),  # Firefox
        ("Connection: Upgrade", "connection: keep-alive\r\nconnection: UPGRADE"),
        ("Upgrade: websocket", "Upgrade: WebSocket"),
        ("Upgrade: websocket", "Upgrade: h2c, websocket"),
    ],
)
def test_tokens_may_stand_in_lists_and_in_any_case(old: str, new: str) -> None:
    """Section 4.2.1 items 3 and 4."""
    assert upgrade(REQUEST.replace(old, new)).headers


def test_another_method_is_refused_with_the_right_one() -> None:
    """RFC 9110 section 15.5.6."""
    refused = refusal(REQUEST.replace("GET", "POST"))
    assert (refused.status, refused.headers) == (405, (("Allow", "GET"),))


def test_http_1_0_is_refused() -> None:
    """Section 4.2.1 item 1."""
    assert refusal(REQUEST.replace("HTTP/1.1", "HTTP/1.0")).status == 505


def test_another_version_is_told_the_right_one() -> None:
    """Section 4.4."""
    refused = refusal(REQUEST.replace("Version: 13", "Version: 8"))
    assert refused.status == 426
    assert ("Sec-WebSocket-Version", "13") in refused.headers
    unsaid = refusal(without("Sec-WebSocket-Version"))
    assert ("Sec-WebSocket-Version", "13") in unsaid.headers


def test_a_plain_request_is_told_what_this_port_is() -> None:
    """A browser that opens the port sees why nothing is there."""
    refused = refusal("GET / HTTP/1.1\r\nHost: x\r\n")
    assert refused.status == 426
    assert "WebSocket" in refused.reason


@pytest.mark.parametrize("name", ["Host", "Connection", "Sec-WebSocket-Key", "Sec-WebSocket-Version"])
def test_every_required_header_is_required(name: str) -> None:
    """Section 4.2.1; the answer names the header."""
    refused = refusal(without(name))
    assert refused.status == 400
    assert name in refused.reason


@pytest.mark.parametrize("name", ["Host", "Sec-WebSocket-Key", "Sec-WebSocket-Version"])
def test_a_header_that_must_be_single_must_not_be_repeated(name: str) -> None:
    """Sections 11.3.1 and 11.3.5, RFC 9112 section 3.2."""
    line = next(line for line in REQUEST.splitlines(keepends=True) if line.startswith(name))
    assert refusal(REQUEST + line).status == 400


@pytest.mark.parametrize(
    "key", ["", "short", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZSE=", "!" * 24, "ü" * 24]
)
def test_the_key_must_be_16_bytes_in_base64(key: str) -> None:
    """Section 4.2.1 item 5."""
    assert refusal(REQUEST.replace(KEY, key)).status == 400


@pytest.mark.parametrize("line", ["Transfer-Encoding: chunked", "Content-Length: 5"])
def test_a_request_with_a_body_is_refused(line: str) -> None:
    """What follows a handshake is frames: a body would be taken for them."""
    assert refusal(REQUEST + line + "\r\n").status == 400


def test_the_servers_first_choice_of_the_offered_subprotocols_is_taken() -> None:
    """Section 4.2.2 item 4; none in common: none is answered."""
    request = REQUEST + "Sec-WebSocket-Protocol: a, b\r\nSec-WebSocket-Protocol: c\r\n"
    chosen = upgrade(request, subprotocols=("x", "c", "a"))
    assert chosen.subprotocol == "c"
    assert ("Sec-WebSocket-Protocol", "c") in chosen.headers
    assert chosen.offered == ("a", "b", "c")
    assert upgrade(request, subprotocols=("x",)).subprotocol is None


@pytest.mark.parametrize("value", ["a b", "a, a", "a/b"])
def test_subprotocols_are_tokens_and_unique(value: str) -> None:
    """Section 4.1 item 10."""
    assert refusal(REQUEST + f"Sec-WebSocket-Protocol: {value}\r\n").status == 400


def test_compression_is_agreed_on_declined_or_off() -> None:
    """RFC 7692 section 5."""
    request = REQUEST + "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
    assert upgrade(request).deflate == DeflateParams()
    assert "Sec-WebSocket-Extensions" in dict(upgrade(request).headers)
    assert upgrade(request, compression=False).deflate is None
    assert "Sec-WebSocket-Extensions" not in dict(upgrade(request, compression=False).headers)


def test_extensions_out_of_grammar_are_refused() -> None:
    """Section 9.1: must fail."""
    assert refusal(REQUEST + "Sec-WebSocket-Extensions: a b\r\n").status == 400


@pytest.mark.parametrize(
    "text",
    [
        "",
        "GET /",
        "GET  / HTTP/1.1",
        "GET / HTTP/1.1 x",
        "GET / FTP/1",
        "GET /\x7f HTTP/1.1",
        "GÜT / HTTP/1.1",
        "GET / HTTP/1.1\r\nno colon",
        "GET / HTTP/1.1\r\nName : x",
        "GET / HTTP/1.1\r\nA: 1\r\n folded",
        "GET / HTTP/1.1\r\nA: \x00",
        "GET / HTTP/1.1\r\nA: a\nB: b",
    ],
)
def test_what_is_not_http_is_refused(text: str) -> None:
    """RFC 9112 sections 3 and 5: also spaces before the colon, folded lines and bare line feeds."""
    with pytest.raises(Refusal) as caught:
        parse_request(text.encode("latin-1"))
    assert caught.value.status == 400


def test_headers_are_bounded() -> None:
    """431."""
    lines = "".join(f"A{number}: x\r\n" for number in range(HEADERS_LIMIT + 1))
    assert refusal("GET / HTTP/1.1\r\n" + lines).status == 431


def test_a_clients_request_is_one_that_our_server_accepts() -> None:
    """Section 4.1."""
    key = new_key(bytes(range(16)))
    text = build_request(
        "localhost:8765",
        "/?channels=",
        key,
        subprotocols=("omega.v2",),
        compression=True,
        headers=[("A", "b")],
    )
    request = parse_request(text.removesuffix(b"\r\n\r\n"))
    assert request.header("a") == "b"
    assert request.target == "/?channels="
    agreed = check_upgrade(request, subprotocols=("omega.v2",))
    assert (agreed.subprotocol, agreed.deflate) == ("omega.v2", DeflateParams())


@pytest.mark.parametrize(
    ("target", "header"),
    [
        ("/a b", ("A", "b")),
        ("/\r\nX: y", ("A", "b")),
        ("/ü", ("A", "b")),
        ("/", ("A", "b\r\nX: y")),
        ("/", ("A b", "")),
    ],
)
def test_nothing_can_be_smuggled_into_a_request(target: str, header: tuple[str, str]) -> None:
    """A line break in a value would begin a header of its own."""
    with pytest.raises(ValueError, match="not a"):
        build_request("localhost", target, KEY, headers=[header])


def answered(text: bytes, **how: object) -> tuple[str | None, DeflateParams | None]:
    """What a client makes of an answer."""
    return check_response(parse_response(text.removesuffix(b"\r\n\r\n")), KEY, **how)  # type: ignore[arg-type]


def test_the_client_accepts_the_right_answer() -> None:
    """Section 4.1: with and without subprotocol and compression."""
    assert answered(response()) == (None, None)
    chosen = "Sec-WebSocket-Protocol: b\r\nSec-WebSocket-Extensions: permessage-deflate\r\n"
    assert answered(response(chosen), subprotocols=("a", "b"), compression=True) == (
        "b",
        DeflateParams(receive_takeover=True),
    )


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("101 Switching", "200 Switching", "HTTP 200"),
        ("Upgrade: websocket", "Upgrade: h2c", "Upgrade: websocket"),
        ("Connection: Upgrade", "Connection: close", "Connection: Upgrade"),
        ("s3pPLMBi", "S3pPLMBi", "Accept"),
        ("\r\n\r\n", "\r\nSec-WebSocket-Protocol: z\r\n\r\n", "not offered"),
        ("\r\n\r\n", "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n", "not offered"),
        ("\r\n\r\n", "\r\nSec-WebSocket-Extensions: a b\r\n\r\n", "character"),
        ("HTTP/1.1", "HTTQ/1.1", "not HTTP"),
        ("HTTP/1.1 101", "HTTP/1.1 1o1", "not HTTP"),
        ("Connection:", "Connection :", "not HTTP"),
    ],
)
def test_the_client_refuses_a_wrong_answer_and_says_why(old: str, new: str, why: str) -> None:
    """Section 4.1, the numbered list on the server's answer."""
    with pytest.raises(HandshakeError, match=why):
        answered(response().replace(old.encode(), new.encode()))
