"""Origin and Host: what they mean, and every way to make them mean something else."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omega_ai.data_feed.websocket.origins import (
    HostPolicy,
    HostPort,
    Origin,
    OriginPolicy,
    parse_host,
    parse_origin,
)

LABEL = st.from_regex(r"\A[a-z][a-z0-9]{0,9}\Z")
NAME = st.lists(LABEL, min_size=1, max_size=4).map(".".join)
PORT = st.integers(1, 65535)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("localhost", HostPort("localhost", None)),
        ("LocalHost.:8765", HostPort("localhost", 8765)),
        ("example.com:", HostPort("example.com", None)),
        ("[::1]:80", HostPort("::1", 80)),
        ("[0:0::1]", HostPort("::1", None)),
        ("my_host-1.example.com", HostPort("my_host-1.example.com", None)),
    ],
)
def test_a_host_has_one_form(text: str, expected: HostPort) -> None:
    """Lower case, no dot at the end, addresses at their shortest."""
    assert parse_host(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "", " ", ".", "a..b", "-a", "a b", "a,b", "a/b", "a@b", "user:pw@host", "a:b",
        "a:0", "a:65536", "a:080000",
        "127.1", "127.0.0.256", "2130706433",
        "0x7f000001", "127.0.0.0x1", "[::1", "::1", "[::1]x", "[::1%eth0]",
        "[127.0.0.1]", "ex\u00e4mple.com", "a" * 300, "a:\u0661", "\uff11\uff12\uff17.0.0.1",
    ],
)  # fmt: skip
def test_what_could_mean_another_host_is_none(text: str) -> None:
    """Short and hexadecimal addresses, user names, lists, digits of other scripts."""
    assert parse_host(text) is None


@given(NAME, st.none() | PORT)
def test_a_name_with_a_port_is_read_back(name: str, port: int | None) -> None:
    """Whatever name a host may have."""
    assert parse_host(name if port is None else f"{name}:{port}") == HostPort(name, port)


@given(st.ip_addresses(), PORT)
def test_an_address_with_a_port_is_read_back(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int
) -> None:
    """Version 6 in brackets."""
    text = f"[{address}]" if address.version == 6 else str(address)
    assert parse_host(f"{text}:{port}") == HostPort(str(address), port)


@given(st.text(max_size=300))
def test_any_text_is_a_host_in_one_form_or_none(text: str) -> None:
    """What is accepted is accepted again as it was understood: no second meaning is left in it."""
    host = parse_host(text)
    if host is not None:
        again = f"[{host.host}]" if ":" in host.host else host.host
        assert parse_host(again if host.port is None else f"{again}:{host.port}") == host
        assert host.host.isascii()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://example.com", Origin("https", "example.com", 443)),
        ("HTTP://Example.com:8080", Origin("http", "example.com", 8080)),
        ("http://[::1]", Origin("http", "::1", 80)),
        ("chrome-extension://abcdefgh", Origin("chrome-extension", "abcdefgh", None)),
        ("null", None),
        ("", None),
        ("file://", None),
        ("https://", None),
        ("https://a.com/path", None),
        ("https://a.com https://b.com", None),
        ("https://a.com, https://b.com", None),
        ("https://user@a.com", None),
        ("//a.com", None),
        ("1http://a.com", None),
    ],
)
def test_an_origin_is_scheme_host_and_port(text: str, expected: Origin | None) -> None:
    """RFC 6454: nothing more, and only one."""
    assert parse_origin(text) == expected


@given(st.text(max_size=200))
def test_any_text_is_an_origin_or_none(text: str) -> None:
    """Never an exception; ``null`` and nonsense never pass, whatever is configured."""
    parsed = parse_origin(text)
    if parsed is None:
        assert OriginPolicy(["*"], loopback_only=True).refusal(text, HostPort("localhost", None)) is not None


class TestOriginPolicy:
    """Which pages may connect."""

    def test_exactly_what_is_named(self) -> None:
        """Scheme and port included; the default port need not be written."""
        policy = OriginPolicy(["https://example.com/", "http://other.com:8080"])
        allowed = ["https://example.com", "https://EXAMPLE.com:443", "http://other.com:8080"]
        refused = [
            "http://example.com",
            "https://example.com:444",
            "http://other.com",
            "https://a.example.com",
        ]
        assert [policy.refusal(origin, None) for origin in allowed] == [None] * len(allowed)
        assert all(policy.refusal(origin, None) for origin in refused)

    def test_names_below(self) -> None:
        """``*.`` is every name below, at a dot, and not the name itself."""
        policy = OriginPolicy(["https://*.example.com"])
        for origin in ("https://a.example.com", "https://b.a.example.com"):
            assert policy.refusal(origin, None) is None
        for origin in (
            "https://example.com",
            "https://evilexample.com",
            "http://a.example.com",
            "https://a.example.com:444",
            "https://a.example.com.evil.org",
        ):
            assert policy.refusal(origin, None) is not None

    def test_everything_but_null(self) -> None:
        """``*``: sandboxed pages of anybody say ``null``."""
        policy = OriginPolicy(["*"])
        assert policy.refusal("https://anything.example.com", None) is None
        assert "sandboxed" in (policy.refusal("null", None) or "")

    @pytest.mark.parametrize(
        "pattern", ["", "example.com", "https://", "https://a/b", "null", "https://*", "**"]
    )
    def test_a_pattern_that_is_none_is_refused(self, pattern: str) -> None:
        """At the start, with what it should look like."""
        with pytest.raises(ValueError, match="is not an origin"):
            OriginPolicy([pattern])

    @given(NAME, NAME)
    def test_no_foreign_page_reaches_a_local_server(self, page: str, host: str) -> None:
        """Unless the request was sent to the page's own host, which the host policy then judges."""
        refused = OriginPolicy(loopback_only=True).refusal(f"https://{page}.example", HostPort(host, 8765))
        assert (refused is None) == (host == f"{page}.example")


class TestHostPolicy:
    """Which names are ours."""

    def test_a_public_server_goes_by_any_name_until_some_are_given(self) -> None:
        """Then by those alone."""
        assert HostPolicy().allows(HostPort("anything", None))
        policy = HostPolicy(["example.com", "*.example.org", "port.example.net:8765"])
        for host in ("example.com", "a.example.org"):
            assert policy.allows(HostPort(host, 1234))
        assert policy.allows(HostPort("port.example.net", 8765))
        for wrong in (HostPort("port.example.net", 1), HostPort("example.org", 1), HostPort("localhost", 1)):
            assert not policy.allows(wrong)

    def test_a_local_server_goes_by_this_machines_names_as_well(self) -> None:
        """And by what is given."""
        policy = HostPolicy(["example.com"], loopback_only=True)
        for host in ("localhost", "127.0.0.1", "::1", "example.com"):
            assert policy.allows(HostPort(host, 8765))
        assert not policy.allows(HostPort("evil.com", 8765))

    def test_a_pattern_that_is_none_is_refused(self) -> None:
        """At the start."""
        with pytest.raises(ValueError, match="is not a host"):
            HostPolicy(["http://example.com"])
