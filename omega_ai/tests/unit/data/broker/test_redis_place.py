"""URLs that name sentinels and clusters, and the hash slots of the specification."""

from __future__ import annotations

import random

import pytest

from omega_ai.core.clock import ManualClock
from omega_ai.data_feed.broker import open_broker
from omega_ai.data_feed.broker.cluster import ClusterBroker
from omega_ai.data_feed.broker.redis import RedisBroker
from omega_ai.data_feed.broker.redis_address import InvalidAddress
from omega_ai.data_feed.broker.redis_place import Fixed, Sentinels, cluster_of, place_of, slot_of

RNG = random.Random(0)


def test_sentinels_name_and_database() -> None:
    """User and password are the servers'; the sentinels have their own, and their own port."""
    place = place_of(
        "redis+sentinel://feed:p%40w@one:26380,[::1],three/mymaster/2?sentinel_password=s%2F", RNG
    )
    assert isinstance(place, Sentinels)
    assert [(s.host, s.port, s.username, s.password, s.db) for s in place._sentinels] == [
        ("one", 26380, None, "s/", 0),
        ("::1", 26379, None, "s/", 0),
        ("three", 26379, None, "s/", 0),
    ]
    template = place.address
    assert (template.username, template.password, template.db) == ("feed", "p@w", 2)
    assert template.tls is None
    assert place._name == "mymaster"


def test_tls_is_for_servers_and_sentinels() -> None:
    """rediss+sentinel:// with the options of rediss://."""
    place = place_of("rediss+sentinel://h/name?ssl_cert_reqs=none", RNG)
    assert isinstance(place, Sentinels)
    assert place.address.tls == {"ssl_cert_reqs": "none"}
    assert place._sentinels[0].tls == {"ssl_cert_reqs": "none"}


def test_a_single_server_is_where_it_is() -> None:
    """Nothing is asked."""
    place = place_of("redis://h:1/3", RNG)
    assert isinstance(place, Fixed)
    assert (place.address.host, place.address.port, place.address.db) == ("h", 1, 3)


def test_the_nodes_of_a_cluster() -> None:
    """Those named are where it begins."""
    cluster = cluster_of("rediss+cluster://u:p@a:7000,b", RNG)
    assert [(n.host, n.port, n.username, n.password) for n in cluster.seeds] == [
        ("a", 7000, "u", "p"),
        ("b", 6379, "u", "p"),
    ]
    assert cluster.seeds[0].tls == {}


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("redis+sentinel://secret@h:1", "names the primary"),
        ("redis+sentinel://:secret@h:1,/name", "empty host"),
        ("redis+sentinel://:secret@h:x/name", "cannot be read"),
        ("redis+sentinel://:secret@h/name/zero", "database"),
        ("redis+sentinel://:secret@h/name?nonsense=1", "unknown"),
    ],
)
def test_what_is_wrong_is_said_without_the_password(url: str, text: str) -> None:
    """Each gets its sentence."""
    with pytest.raises(InvalidAddress, match=text) as caught:
        place_of(url, RNG)
    assert "secret" not in str(caught.value)


def test_a_cluster_has_no_databases() -> None:
    """Said before anything is connected."""
    with pytest.raises(InvalidAddress, match="one database"):
        cluster_of("redis+cluster://h/1", RNG)


def test_the_text_of_the_option_opens_the_right_broker() -> None:
    """As ``omega serve --broker`` gives it."""
    assert isinstance(open_broker("redis+cluster://h:1", clock=ManualClock()), ClusterBroker)
    assert isinstance(open_broker("redis+sentinel://h:1/name", clock=ManualClock()), RedisBroker)


def test_hash_slots_are_those_of_the_specification() -> None:
    """CRC16 of "123456789" is 0x31C3, and what a real node says."""
    assert slot_of("123456789") == 0x31C3 % 16384
    assert slot_of("foo") == 12182
    assert slot_of("btc_price") != slot_of("lease")
