"""Who may connect: each refusal with status, reason and headers, and nothing counted that is not in."""

from __future__ import annotations

import random
from typing import Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omega_ai.core.clock import ManualClock
from omega_ai.data_feed.websocket.admission import (
    Admission,
    AdmissionSettings,
    Admitted,
    Refusal,
    UpgradeRequest,
    loggable,
)
from omega_ai.data_feed.websocket.admission_limits import FORWARDING
from omega_ai.data_feed.websocket.auth import (
    ANONYMOUS,
    FORWARDED,
    UNPROVEN,
    Authenticator,
    AuthError,
    make_token,
)
from omega_ai.data_feed.websocket.token_keys import KeySource, StaticKeys, secret_key, signing_key

SECRET = b"0123456789abcdef0123456789abcdef"
CHANNELS = frozenset({"btc_price", "broadcast", "trades", "status"})


class Door:
    """An admission, its clock, and short ways to knock."""

    def __init__(self, *, keys: KeySource | None = None, tokens: bool = True, **settings: Any) -> None:
        self.clock = ManualClock()
        source = keys if keys is not None else StaticKeys([secret_key(SECRET)])
        self.admission = Admission(
            AdmissionSettings(CHANNELS, **settings),
            clock=self.clock,
            rng=random.Random(7),
            authenticator=Authenticator(source) if tokens else None,
        )

    def knock(
        self,
        target: str = "/",
        peer: str = "192.0.2.1",
        host: str | None = "feed.example.com",
        **headers: str,
    ) -> Admitted | Refusal:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if host is not None:
            named["host"] = host
        return self.admission.decide(UpgradeRequest.build(target, named, peer))

    def enter(self, *args: Any, **kwargs: Any) -> Admitted:
        answer = self.knock(*args, **kwargs)
        assert isinstance(answer, Admitted), answer
        return answer

    def refused(self, status: int, *args: Any, **kwargs: Any) -> Refusal:
        before = self.admission.connections
        answer = self.knock(*args, **kwargs)
        assert isinstance(answer, Refusal), answer
        assert answer.status == status
        assert answer.reason
        assert self.admission.connections == before
        retry = dict(answer.headers).get("Retry-After")
        assert (retry is not None) == (status in (429, 503))
        assert retry is None or 1 <= int(retry) <= 3600
        assert (status == 401) == ("WWW-Authenticate" in dict(answer.headers))
        return answer

    def bearer(self, subject: str = "desk-7", **claims: Any) -> str:
        text = make_token(
            signing_key(SECRET), subject=subject, now_ns=self.clock.time_ns(), lifetime_s=600, **claims
        )
        return f"Bearer {text}"


class TestPlace:
    """Path and host."""

    @pytest.mark.parametrize(
        "target", ["/", "/ws", "/?x=1", "/ws?channels=trades", "http://feed.example.com/ws"]
    )
    def test_the_feeds_own_paths(self, target: str) -> None:
        """Also in absolute form, which a server must take (RFC 9112 section 3.2.2)."""
        Door().enter(target)

    @pytest.mark.parametrize(
        "target", ["/x", "/ws/", "//", "", "*", "/%77s", "ftp://x/", "http://[/", "/" * 5000]
    )
    def test_any_other_path_is_not_found(self, target: str) -> None:
        """404, and the reason says where the feed is."""
        assert "/ws" in Door().refused(404, target).reason

    @pytest.mark.parametrize(
        "host", ["localhost:8765", "127.0.0.1:8765", "[::1]:8765", "LOCALHOST", "localhost."]
    )
    def test_a_local_server_goes_by_this_machines_names(self, host: str) -> None:
        """All of them, with or without a port."""
        Door(loopback_only=True).enter(peer="127.0.0.1", host=host)

    @pytest.mark.parametrize("host", ["evil.example.com", "192.168.1.5:8765", "localhost.evil.example.com"])
    def test_a_name_made_to_point_here_is_refused(self, host: str) -> None:
        """DNS rebinding: the browser believes that it speaks to its own page's server."""
        door = Door(loopback_only=True)
        assert door.refused(403, peer="127.0.0.1", host=host, origin=f"http://{host}").kind == "host"
        Door(loopback_only=True, hosts=(host,)).enter(peer="127.0.0.1", host=host)

    def test_the_authority_of_an_absolute_target_counts_and_not_host(self) -> None:
        """Otherwise a right ``Host`` would cover for a wrong target."""
        door = Door(loopback_only=True)
        door.refused(403, "http://evil.example.com/ws", host="localhost")

    @pytest.mark.parametrize(
        "host", [None, "", "a b", "a, b", "127.1", "0x7f.0.0.1", "[::1", "localhost:99999"]
    )
    def test_without_a_proper_host_it_is_a_bad_request(self, host: str | None) -> None:
        """RFC 9112 section 3.2: exactly one, and it names a host."""
        Door().refused(400, host=host)

    def test_two_hosts_are_a_bad_request(self) -> None:
        """Two lines that disagree fool one of those who read them."""
        request = UpgradeRequest.build("/", {"Host": ["feed.example.com", "evil.example.com"]}, "192.0.2.1")
        answer = Door().admission.decide(request)
        assert isinstance(answer, Refusal)
        assert answer.status == 400


class TestOrigin:
    """Pages in browsers."""

    def test_without_an_origin_it_is_no_browser(self) -> None:
        """A program may connect from anywhere."""
        Door().enter()

    def test_on_a_public_server_only_configured_pages(self) -> None:
        """Not even one of the same host, unless it is named."""
        door = Door(origins=("https://app.example.com",))
        door.enter(origin="https://app.example.com")
        for origin in ("https://feed.example.com", "http://app.example.com", "http://localhost", "null", "x"):
            assert door.refused(403, origin=origin).kind == "origin"

    def test_on_a_local_server_pages_of_this_machine(self) -> None:
        """The dashboard on its own port among them; no page from elsewhere."""
        door = Door(loopback_only=True)
        for origin in ("http://localhost:8767", "http://127.0.0.1:3000", "https://[::1]:8443"):
            door.enter(peer="127.0.0.1", host="localhost:8765", origin=origin)
        for origin in ("https://evil.example.com", "null", "file://", "http://localhost.evil.example.com"):
            door.refused(403, peer="127.0.0.1", host="localhost:8765", origin=origin)


class TestChannels:
    """What the URL asks for."""

    @pytest.mark.parametrize(
        ("query", "channels"),
        [
            ("", ("btc_price", "broadcast")),
            ("?", ("btc_price", "broadcast")),
            ("?other=1", ("btc_price", "broadcast")),
            ("?channels=", ()),
            ("?channels=trades", ("trades",)),
            ("?channels=trades,btc_price,trades", ("trades", "btc_price")),
            ("?channels=trades&channels=status", ("trades", "status")),
            ("?channels=trades%2Cstatus", ("trades", "status")),
        ],
    )
    def test_channels_of_the_url(self, query: str, channels: tuple[str, ...]) -> None:
        """The default, none, some, each once."""
        assert Door().enter("/" + query).channels == channels

    @pytest.mark.parametrize("query", ["?channels=nope", "?channels=%ff", "?" + "&".join(["a=1"] * 40)])
    def test_an_unknown_channel_is_a_bad_request(self, query: str) -> None:
        """400; what was sent is not repeated, since it may be anything."""
        assert "nope" not in Door().refused(400, "/" + query).reason

    def test_a_token_bounds_them(self) -> None:
        """Asked for, a channel that it does not allow is forbidden; of the defaults it is left out."""
        door = Door()
        token = door.bearer(channels=["btc_price", "trades"])
        assert door.enter(authorization=token).channels == ("btc_price",)
        assert door.enter("/?channels=trades", authorization=token).channels == ("trades",)
        assert door.refused(403, "/?channels=trades,status", authorization=token).kind == "forbidden"


class TestToken:
    """Who it is."""

    def test_none_needed_none_given(self) -> None:
        """Anonymous; and so is somebody with another kind of password, a proxy's perhaps."""
        assert Door().enter().identity is ANONYMOUS
        assert Door().enter(authorization="Basic dXNlcjpwYXNz").identity is ANONYMOUS

    def test_a_good_one_names_the_user(self) -> None:
        """With the rights that it grants."""
        door = Door(require_token=True)
        identity = door.enter(authorization=door.bearer(publish=["btc_price"])).identity
        assert identity.subject == "desk-7"
        assert identity.may_publish("btc_price")

    def test_required_and_missing(self) -> None:
        """401 and how to send one; without an error code, since nothing was wrong (RFC 6750 section 3.1)."""
        answer = Door(require_token=True).refused(401)
        assert dict(answer.headers)["WWW-Authenticate"] == 'Bearer realm="omega"'
        assert "Authorization: Bearer" in answer.reason
        Door(require_token=True).refused(401, authorization="Basic dXNlcjpwYXNz")

    @pytest.mark.parametrize("token", ["", "x", "a.b.c", "a.b.c, a.b.c", 'x"y\\z.ä.b', "x" * 9000])
    def test_a_bad_one_is_refused_even_if_none_is_required(self, token: str) -> None:
        """401 with ``invalid_token``; neither reason nor header repeats it, and the header is well formed."""
        answer = Door().refused(401, authorization=f"Bearer {token}")
        challenge = dict(answer.headers)["WWW-Authenticate"]
        assert 'error="invalid_token"' in challenge
        assert challenge.isascii()
        assert challenge.count('"') == 6
        assert len(token) < 3 or (token not in answer.reason and token not in challenge)

    def test_the_challenge_is_well_formed_whatever_the_reason(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A quote or a line break in a reason does not become part of the header's syntax."""

        def refuse(*_: object) -> NoReturn:
            raise AuthError('a "quote", a \\ and\r\nX-More: ä')

        monkeypatch.setattr(Authenticator, "verify", refuse)
        challenge = dict(Door().refused(401, authorization="Bearer a.b.c").headers)["WWW-Authenticate"]
        assert challenge.endswith("error_description=\"a 'quote', a ' and''X-More: '\"")

    def test_an_expired_one(self) -> None:
        """By the clock that was handed in."""
        door = Door()
        token = door.bearer()
        door.enter(authorization=token)
        door.clock.advance(631)
        assert "expired" in door.refused(401, authorization=token).reason

    def test_a_token_in_the_url_is_ignored(self) -> None:
        """It makes nobody anything, it satisfies no requirement, and no log shows it."""
        door = Door()
        token = door.bearer().removeprefix("Bearer ")
        assert door.enter(f"/?token={token}&access_token={token}").identity is ANONYMOUS
        Door(require_token=True).refused(401, f"/?access_token={token}")
        assert token not in loggable(f"/ws?access_token={token}")
        assert len(loggable("/" + "x" * 9999)) <= 200

    def test_a_server_without_keys_says_so(self) -> None:
        """Rather than let somebody in with less than they count on; and it cannot require tokens."""
        assert "no tokens" in Door(tokens=False).refused(401, authorization="Bearer a.b.c").reason
        with pytest.raises(ValueError, match="no key"):
            Door(tokens=False, require_token=True)

    def test_keys_that_are_away_are_our_fault(self) -> None:
        """503: the same token may do in a moment."""

        class Away(StaticKeys):
            def available(self) -> bool:
                return False

        door = Door(keys=Away([]))
        assert "try again" in door.refused(503, authorization=door.bearer()).reason


class TestCaps:
    """How many."""

    def test_in_all(self) -> None:
        """503 when full; a place that is given back is free."""
        door = Door(max_connections=2)
        first = door.enter(peer="192.0.2.1")
        door.enter(peer="192.0.2.2")
        assert door.refused(503, peer="192.0.2.3").kind == "capacity"
        door.admission.release(first)
        door.enter(peer="192.0.2.3")

    def test_per_address(self) -> None:
        """429 for one, others not concerned; released twice, a place is free once."""
        door = Door(max_per_address=2)
        first, _ = door.enter(), door.enter()
        assert door.refused(429).kind == "address_cap"
        door.enter(peer="192.0.2.2")
        door.admission.release(first)
        door.admission.release(first)
        door.enter()
        door.refused(429)

    def test_an_ipv6_network_is_one(self) -> None:
        """A /64 has more addresses than anybody can count, and one owner."""
        door = Door(max_per_address=2)
        door.enter(peer="2001:db8:0:1::1")
        assert door.enter(peer="2001:db8:0:1:ffff::2").address == "2001:db8:0:1::/64"
        door.refused(429, peer="2001:db8:0:1:abcd:ef01:2345:6789")
        door.enter(peer="2001:db8:0:2::1")

    def test_per_user_from_anywhere(self) -> None:
        """One subject, many addresses; who comes without a token is nobody's user."""
        door = Door(max_per_user=2)
        for i in range(2):
            door.enter(peer=f"192.0.2.{i}", authorization=door.bearer())
        assert door.refused(429, peer="192.0.2.9", authorization=door.bearer()).kind == "user_cap"
        door.enter(peer="192.0.2.9", authorization=door.bearer("another"))
        for i in range(5):
            door.enter(peer=f"192.0.2.{i}")

    def test_a_user_shown_after_the_upgrade_is_counted(self) -> None:
        """By an ``auth`` message; too many are told, and leaving frees the place."""
        door = Door(max_per_user=1)
        known = door.enter(authorization=door.bearer())
        later = door.enter()
        assert not door.admission.identify(later, known.identity)
        door.admission.release(known)
        assert door.admission.identify(later, known.identity)
        assert door.admission.identify(later, known.identity)
        door.refused(429, authorization=door.bearer())
        door.admission.release(later)
        assert door.admission.identify(later, known.identity)  # gone already: nothing is counted
        door.enter(authorization=door.bearer())

    def test_this_machine_is_not_limited_unless_told(self) -> None:
        """A load test from here is the owner's; in all, the cap holds."""
        door = Door(max_per_address=1, attempts_burst=1, max_connections=5)
        for _ in range(5):
            door.enter(peer="127.0.0.1")
        door.refused(503, peer="127.0.0.1")
        strict = Door(max_per_address=1, limit_loopback=True)
        strict.enter(peer="::1")
        strict.refused(429, peer="::1")

    def test_rate_of_attempts(self) -> None:
        """A burst, then so many a second; refused ones do not count, and Retry-After is long enough."""
        door = Door(attempts_per_s=2.0, attempts_burst=3)
        for _ in range(3):
            door.admission.release(door.enter())
        answer = door.refused(429)
        assert answer.kind == "rate"
        door.enter(peer="192.0.2.2")
        door.clock.advance(0.5)
        door.enter()
        door.refused(429)
        door.clock.advance(int(dict(answer.headers)["Retry-After"]))
        door.enter()

    def test_attempts_without_a_limit(self) -> None:
        """Other limits hold."""
        door = Door(attempts_per_s=None, attempts_burst=1, max_per_address=50)
        for _ in range(50):
            door.enter()
        assert door.refused(429).kind == "address_cap"

    def test_bad_tokens_count_as_attempts(self) -> None:
        """Guessing is slowed down before a signature is looked at."""
        door = Door(attempts_per_s=1.0, attempts_burst=2)
        for _ in range(2):
            door.refused(401, authorization="Bearer a.b.c")
        door.refused(429, authorization="Bearer a.b.c")

    @given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.booleans()), max_size=60))
    def test_counts_are_right_after_any_coming_and_going(self, steps: list[tuple[int, int, bool]]) -> None:
        """Whatever the order, caps hold, and when all have left nothing is remembered."""
        door = Door(max_connections=6, max_per_address=3, max_per_user=2, attempts_burst=1000)
        users = ["", "a", "b"]
        inside: list[Admitted] = []
        for address, user, leave in steps:
            if leave and inside:
                door.admission.release(inside.pop(address % len(inside)))
            headers = {"authorization": door.bearer(users[user])} if users[user] else {}
            answer = door.knock(peer=f"192.0.2.{address}", **headers)
            if isinstance(answer, Admitted):
                inside.append(answer)
            assert door.admission.connections == len(inside) <= 6
            for key in {a.address for a in inside}:
                assert sum(a.address == key for a in inside) <= 3
            for subject in ("a", "b"):
                assert sum(a.identity.subject == subject for a in inside) <= 2
        for admitted in inside:
            door.admission.release(admitted)
        counts = door.admission._counts
        assert (dict(counts.slots), dict(counts.addresses), dict(counts.users)) == ({}, {}, {})


class TestProxies:
    """Behind a proxy."""

    def test_only_a_trusted_proxy_is_believed(self) -> None:
        """Anybody can write the header."""
        door = Door(max_per_address=1, trusted_proxies=("10.0.0.0/8",))
        door.enter(peer="10.0.0.1", x_forwarded_for="192.0.2.1")
        door.refused(429, peer="10.0.0.2", x_forwarded_for="192.0.2.1")
        door.refused(429, peer="192.0.2.1", x_forwarded_for="192.0.2.77")
        assert (
            door.enter(peer="10.0.0.1", x_forwarded_for="1.1.1.1, 192.0.2.5, 10.9.9.9").address == "192.0.2.5"
        )

    @pytest.mark.parametrize("header", sorted(FORWARDING))
    @pytest.mark.parametrize("peer", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "127.8.8.8", ""])
    def test_one_on_this_machine_that_nobody_named_passes_strangers_on(self, peer: str, header: str) -> None:
        """However local it is itself (the last is a Unix socket's), and whatever it says of them."""
        door = Door(loopback_only=True)
        forwarded = door.enter(peer=peer, host="localhost", **{header: "127.0.0.1"})
        assert (forwarded.local, forwarded.identity) == (False, FORWARDED)
        assert (forwarded.identity.subject, forwarded.channels) == ("anonymous", ("btc_price", "broadcast"))
        directly = door.enter(peer=peer, host="localhost")
        assert (directly.local, directly.identity) == (True, ANONYMOUS)

    def test_a_stranger_stays_one_whoever_he_shows_himself_to_be(self) -> None:
        """By a token with the upgrade, or later by message; then his rights are the token's and no more."""
        door = Door(loopback_only=True, require_token=True)
        here = {"peer": "127.0.0.1", "host": "localhost"}
        forwarded = door.enter(**here, via="1.1 proxy", authorization=door.bearer())
        assert (forwarded.identity.subject, forwarded.identity.local) == ("desk-7", False)
        known = door.enter(**here, authorization=door.bearer())
        assert known.identity.local
        waits = door.enter(**here, via="1.1 proxy", origin="http://localhost")
        assert (waits.identity is UNPROVEN, waits.local) == (True, False)
        shown = door.admission.identify(waits, known.identity)
        assert shown is not None
        assert (shown.subject, shown.local) == ("desk-7", False)
        waits = door.enter(**here, origin="http://localhost")
        assert door.admission.identify(waits, known.identity) == known.identity

    def test_strangers_are_not_counted_as_one(self) -> None:
        """An unnamed proxy is not believed, but its clients do not share the limits of one address either."""
        door = Door(loopback_only=True, max_per_address=1, attempts_burst=1)
        for _ in range(5):
            door.enter(peer="127.0.0.1", host="localhost", x_forwarded_for="192.0.2.1")
        assert not door.admission._counts.users

    def test_a_named_one_and_one_elsewhere_are_no_surprise(self) -> None:
        """The first is known, and of the second nobody takes the clients for local ones."""
        named = Door(loopback_only=True, trusted_proxies=("127.0.0.1",))
        assert named.enter(peer="127.0.0.1", host="localhost", x_forwarded_for="192.0.2.1").local
        assert not named.enter(peer="127.0.0.2", host="localhost", x_forwarded_for="192.0.2.1").local
        assert Door().enter(peer="192.0.2.9", x_forwarded_for="192.0.2.1").local

    @pytest.mark.parametrize(
        "option", [{"trusted_proxies": ("proxy",)}, {"origins": ("x",)}, {"hosts": ("a b",)}]
    )
    def test_settings_that_mean_nothing_are_refused_at_the_start(self, option: dict[str, Any]) -> None:
        """With what was written, and what may be."""
        with pytest.raises(ValueError, match="write"):
            Door(**option)


class TestRest:
    """Draining, the subprotocol, and anything at all."""

    def test_draining_lets_nobody_in(self) -> None:
        """503 at different times, so that they do not all return at once; who is in stays counted."""
        door = Door()
        inside = door.enter()
        door.admission.drain()
        waits = {dict(door.refused(503).headers)["Retry-After"] for _ in range(50)}
        assert len(waits) > 1
        door.admission.release(inside)
        assert door.admission.connections == 0

    @pytest.mark.parametrize(
        ("offered", "chosen"),
        [
            ("omega.v2", "omega.v2"),
            ("x, omega.v2", "omega.v2"),
            ("x", None),
            ("", None),
            ("omega.v2.x", None),
        ],
    )
    def test_the_subprotocol_is_confirmed_if_offered(self, offered: str, chosen: str | None) -> None:
        """And none is needed."""
        assert Door().enter(sec_websocket_protocol=offered).subprotocol == chosen

    @given(
        target=st.text(max_size=60) | st.text(max_size=60).map(lambda text: "/?channels=" + text),
        peer=st.text(max_size=40) | st.ip_addresses().map(str),
        headers=st.dictionaries(
            st.sampled_from(["host", "origin", "authorization", "x-forwarded-for", "sec-websocket-protocol"]),
            st.text(max_size=80),
        ),
        loopback=st.booleans(),
    )
    def test_anything_at_all_gets_an_answer(
        self, target: str, peer: str, headers: dict[str, str], loopback: bool
    ) -> None:
        """Admitted or refused; never an exception."""
        door = Door(loopback_only=loopback, trusted_proxies=("0.0.0.0/0", "::/0"))
        answer = door.admission.decide(UpgradeRequest.build(target, headers, peer))
        assert isinstance(answer, Admitted | Refusal)
