"""Addresses: what is read, and what is said of what cannot be."""

from __future__ import annotations

import socket

import pytest

from omega_ai.testkit.proxy.address import (
    BadAddress,
    join_host_port,
    listen_address,
    parse_upstream,
    split_host_port,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("localhost:6379", ("", "localhost", 6379, "", False)),
        ("[::1]:6379", ("", "::1", 6379, "", False)),
        ("ws://localhost:8765", ("ws", "localhost", 8765, "", False)),
        ("ws://example/feed?a=b", ("ws", "example", 80, "/feed?a=b", False)),
        ("wss://example", ("wss", "example", 443, "", True)),
        ("tls://[::1]:99", ("tls", "::1", 99, "", True)),
        ("tcp://127.0.0.1:1", ("tcp", "127.0.0.1", 1, "", False)),
    ],
)
def test_a_server_is_an_address_or_a_url(text, expected):
    found = parse_upstream(text)
    assert (*found, found.secure) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("localhost", "missing port"),
        ("localhost:http", "invalid port 'http'"),
        ("localhost:70000", "invalid port '70000'"),
        ("::1:80", r"write \[::1\]:80"),
        ("ftp://example:21", "no scheme that is known here"),
        ("tcp://example", "names no host and port"),
        ("ws://:80", "names no host and port"),
        ("ws://example:port", "write HOST:PORT or a URL"),
    ],
)
def test_what_is_no_address_is_refused(text, words):
    with pytest.raises(BadAddress, match=words):
        parse_upstream(text)


def test_an_address_is_written_as_it_is_read():
    for text in ("127.0.0.1:80", "[::1]:80", "localhost:0"):
        assert join_host_port(*split_host_port(text)) == text


def test_a_name_is_resolved_to_one_address_ipv4_first():
    assert listen_address("localhost:81") == (socket.AF_INET, ("127.0.0.1", 81))


def test_no_host_means_every_address():
    family, (host, port) = listen_address(":82")
    assert (family, host, port) in [(socket.AF_INET6, "::", 82), (socket.AF_INET, "", 82)]
