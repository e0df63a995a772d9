"""Reading Redis URLs, showing them without secrets, refusing what is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from omega_ai.data_feed.broker.redis_address import InvalidAddress, RedisAddress, parse_address


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://", RedisAddress()),
        ("redis://example.org", RedisAddress(host="example.org")),
        ("redis://[::1]:7000/3", RedisAddress(host="::1", port=7000, db=3)),
        ("redis://h?db=4&durable=yes", RedisAddress(host="h", db=4, durable=True)),
        ("redis://:p%40ss@h", RedisAddress(host="h", password="p@ss")),
        ("redis://me:secret@h:1", RedisAddress(host="h", port=1, username="me", password="secret")),
        ("rediss://h?ssl_cert_reqs=none", RedisAddress(host="h", tls={"ssl_cert_reqs": "none"})),
        ("unix:///run/r.sock?db=1&password=x", RedisAddress(path="/run/r.sock", db=1, password="x")),
        ("unix://me:x@/run/a%20b.sock", RedisAddress(path="/run/a b.sock", username="me", password="x")),
    ],
)
def test_urls_are_read(url: str, expected: RedisAddress) -> None:
    """The forms that people know from redis-py."""
    assert parse_address(url) == expected


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://h", "begins with redis://"),
        ("redis://h:99999", "cannot be read"),
        ("redis://h:x", "cannot be read"),
        ("redis://h/abc", "is a number"),
        ("redis://h?db=-1", "is a number"),
        ("redis://h?speed=fast", "option 'speed'"),
        ("redis://h?durable=maybe", "durable is"),
        ("redis://h?ssl_cert_reqs=none", "need rediss://"),
        ("rediss://h?ssl_cert_reqs=perhaps", "ssl_cert_reqs is"),
        ("rediss://h?ssl_ca_certs=/nowhere/ca.pem", "names no file"),
        ("unix://", "names the socket's path"),
    ],
)
def test_what_is_no_address_is_refused_in_plain_words(url: str, says: str) -> None:
    """The text says what is wrong with it."""
    with pytest.raises(InvalidAddress, match=says):
        parse_address(url)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://me:hunter2@h:1/2", "redis://me@h:1/2"),
        ("redis://:hunter2@[::1]", "redis://[::1]:6379"),
        ("rediss://h?password=hunter2", "rediss://h:6379"),
        ("unix://:hunter2@/r.sock?db=3", "unix:///r.sock?db=3"),
    ],
)
def test_the_password_is_never_shown(url: str, shown: str) -> None:
    """Neither in what people read nor in a repr."""
    address = parse_address(url)
    assert str(address) == shown
    assert "hunter2" not in repr(address)


def test_a_file_that_is_no_certificate_is_a_clear_error(tmp_path: Path) -> None:
    """It names the file."""
    rubbish = tmp_path / "ca.pem"
    rubbish.write_text("rubbish")
    with pytest.raises(InvalidAddress, match=r"ca\.pem"):
        parse_address(f"rediss://h?ssl_ca_certs={rubbish}").ssl_context()
