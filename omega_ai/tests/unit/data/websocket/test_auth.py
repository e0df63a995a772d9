"""Tokens: right ones are understood, every kind of wrong one is refused, and no error repeats them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omega_ai.data_feed.websocket.auth import (
    ALL,
    ANONYMOUS,
    FORWARDED,
    LEEWAY_S,
    MAX_LIFETIME_S,
    MAX_TOKEN_BYTES,
    Authenticator,
    AuthError,
    Identity,
    PublishPolicy,
    make_token,
)
from omega_ai.data_feed.websocket.token_keys import (
    SigningKey,
    StaticKeys,
    VerificationKey,
    public_key,
    secret_key,
    signing_key,
)
from omega_ai.tests.certificates import key_pem, new_key, new_rsa_key, public_pem

NOW_S = 1_800_000_000
NOW = NOW_S * 1_000_000_000
SECRET = b"0123456789abcdef0123456789abcdef"
RSA = new_rsa_key()
EC = new_key()

KEYS: dict[str, tuple[SigningKey, VerificationKey]] = {
    "HS256": (signing_key(SECRET), secret_key(SECRET)),
    "RS256": (signing_key(key_pem(RSA)), public_key(public_pem(RSA))),
    "ES256": (signing_key(key_pem(EC)), public_key(public_pem(EC))),
}
HS256 = KEYS["HS256"][0]


def authenticator(*algorithms: str, **options: Any) -> Authenticator:
    return Authenticator(StaticKeys([KEYS[name][1] for name in algorithms or ("HS256",)]), **options)


def token(key: SigningKey = HS256, **options: Any) -> str:
    defaults: dict[str, Any] = {"subject": "desk-7", "now_ns": NOW, "lifetime_s": 3600}
    return make_token(key, **(defaults | options))


def signed(claims: object, header: dict[str, object] | None = None, secret: bytes = SECRET) -> str:
    """A token by hand, with whatever in it, and a right HS256 signature."""
    parts = [json.dumps(header if header is not None else {"alg": "HS256"}), json.dumps(claims)]
    body = ".".join(base64.urlsafe_b64encode(part.encode()).rstrip(b"=").decode() for part in parts)
    signature = hmac.new(secret, body.encode(), hashlib.sha256).digest()
    return f"{body}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def refusal(text: str, verifier: Authenticator | None = None, now_ns: int = NOW) -> str:
    """Why ``text`` is refused; checks that the reason is one line and holds nothing of it."""
    with pytest.raises(AuthError) as caught:
        (verifier or authenticator()).verify(text, now_ns)
    error = caught.value
    assert error.code == "unauthorized"
    assert not error.temporary
    assert "\n" not in error.reason
    assert all(part not in error.reason for part in text.split(".") if len(part) > 8)
    return error.reason


class TestVerify:
    """What a token says."""

    @pytest.mark.parametrize("algorithm", KEYS)
    def test_each_kind_of_key(self, algorithm: str) -> None:
        """A token made with a key is verified with its other half."""
        text = token(KEYS[algorithm][0], publish=["btc_price"], channels=["btc_price", "trades"])
        identity = authenticator(algorithm).verify(text, NOW)
        assert identity.subject == "desk-7"
        assert identity.publish == frozenset({"btc_price"})
        assert identity.channels == frozenset({"btc_price", "trades"})
        assert identity.expires_at_ns == (NOW_S + 3600 + LEEWAY_S) * 1_000_000_000

    def test_defaults_are_read_all_publish_none(self) -> None:
        """A token that says nothing gives what an anonymous client has, and a name."""
        identity = authenticator().verify(token(), NOW)
        assert identity.may_read("anything")
        assert not identity.may_publish("btc_price")

    def test_true_is_every_channel_and_a_list_only_those(self) -> None:
        """Channels to come included."""
        everything = authenticator().verify(token(publish=True), NOW)
        assert everything.publish is ALL
        assert everything.may_publish("anything")
        some = authenticator().verify(token(publish=["a"], channels=["b"]), NOW)
        assert [some.may_publish("a"), some.may_publish("b")] == [True, False]
        assert [some.may_read("a"), some.may_read("b")] == [False, True]
        assert not authenticator().verify(token(channels=[]), NOW).may_read("btc_price")

    def test_a_token_made_elsewhere(self) -> None:
        """Another library's token, with a type and claims that we do not know."""
        claims = {"sub": "x", "exp": NOW_S + 60.5, "iat": NOW_S, "scope": "prices", "jti": [1]}
        text = jwt.encode(claims, SECRET, algorithm="HS256", headers={"typ": "at+jwt"})
        assert authenticator().verify(text, NOW).subject == "x"

    def test_audience_and_issuer_when_configured(self) -> None:
        """They must be there and right; not configured, they are not heeded."""
        strict = authenticator(audience="omega", issuer="https://id.example.com")
        good = token(audience="omega", issuer="https://id.example.com")
        assert strict.verify(good, NOW).subject == "desk-7"
        assert strict.verify(
            signed({"sub": "x", "exp": NOW_S + 9, "aud": ["a", "omega"], "iss": "https://id.example.com"}),
            NOW,
        )
        assert "(aud)" in refusal(token(issuer="https://id.example.com"), strict)
        assert "(aud)" in refusal(token(audience="other", issuer="https://id.example.com"), strict)
        assert "(iss)" in refusal(token(audience="omega"), strict)
        assert "(iss)" in refusal(token(audience="omega", issuer="https://evil.example.com"), strict)
        assert authenticator().verify(good, NOW)


class TestTimes:
    """When a token counts."""

    def test_until_it_expires_and_the_leeway_is_over(self) -> None:
        """The identity ends at the same moment, so nobody is let in to be put out at once."""
        text = token(lifetime_s=60)
        last = NOW + (60 + LEEWAY_S) * 1_000_000_000 - 1
        identity = authenticator().verify(text, last)
        assert not identity.expired(last)
        assert identity.expired(last + 1)
        assert "expired" in refusal(text, now_ns=last + 1)

    def test_not_before(self) -> None:
        """``nbf`` and ``iat`` in the future, beyond the leeway."""
        for claim, word in (("nbf", "not valid yet"), ("iat", "in the future")):
            claims = {"sub": "x", "exp": NOW_S + 999, claim: NOW_S + LEEWAY_S}
            assert authenticator().verify(signed(claims), NOW)
            assert word in refusal(signed(claims | {claim: NOW_S + LEEWAY_S + 1}))

    def test_the_longest_lifetime(self) -> None:
        """A token that cannot be withdrawn must end; from its issue, or from now if it does not say."""
        assert authenticator().verify(token(lifetime_s=MAX_LIFETIME_S), NOW)
        assert "for longer than" in refusal(token(lifetime_s=MAX_LIFETIME_S + LEEWAY_S + 1))
        assert "for longer than" in refusal(signed({"sub": "x", "exp": NOW_S + MAX_LIFETIME_S + 100}))
        old = signed({"sub": "x", "iat": NOW_S - 100, "exp": NOW_S - 50 + MAX_LIFETIME_S})
        assert "for longer than" in refusal(old)
        assert "for longer than 60 s" in refusal(token(lifetime_s=120), authenticator(max_lifetime_s=60))


class TestRefused:
    """Every kind of wrong token."""

    def test_a_required_claim_is_missing(self) -> None:
        """``exp`` and ``sub``; the error says which."""
        assert "`exp`" in refusal(signed({"sub": "x"}))
        assert "`sub`" in refusal(signed({"exp": NOW_S + 60}))

    @pytest.mark.parametrize(
        "claims",
        [
            {"exp": "tomorrow"},
            {"exp": True},
            {"exp": None},
            {"exp": 1e300},
            {"exp": -1e300},
            {"exp": NOW_S * 1000},
            {"nbf": "now"},
            {"sub": 7},
            {"sub": ""},
            {"sub": "a" * 256},
            {"sub": "two\nlines"},
            {"sub": "\x1b[31mred"},
            {"publish": "btc_price"},
            {"publish": [1]},
            {"publish": [""]},
            {"publish": ["x" * 65]},
            {"publish": ["x"] * 101},
            {"channels": {"btc_price": True}},
            {"channels": 1},
        ],
    )
    def test_a_claim_of_the_wrong_kind(self, claims: dict[str, object]) -> None:
        """Rightly signed, but not what a claim can be."""
        refusal(signed({"sub": "desk-7", "exp": NOW_S + 60} | claims))

    @pytest.mark.parametrize("payload", [[], "x", None, 7])
    def test_claims_that_are_no_object(self, payload: object) -> None:
        """JSON, but not claims."""
        refusal(signed(payload))

    @pytest.mark.parametrize("payload", [b"", b"{", b"\xff", b'{"sub":"\xff"}', b"[" * 4000, b'{"x":' * 1100])
    def test_claims_that_are_no_json(self, payload: bytes) -> None:
        """Rightly signed, and yet bytes that cannot be read."""
        text = jwt.PyJWS().encode(payload, SECRET, algorithm="HS256")
        assert "claim" in refusal(text)

    def test_without_a_signature(self) -> None:
        """``alg: none`` in any spelling, and a signature cut off."""
        claims = {"sub": "x", "exp": NOW_S + 60, "publish": True}
        for name in ("none", "None", "NONE", ""):
            assert "algorithm" in refusal(signed(claims, {"alg": name}))
            assert "algorithm" in refusal(signed(claims, {"alg": name}).rpartition(".")[0] + ".")
        assert "signature" in refusal(token().rpartition(".")[0] + ".")

    @pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
    def test_a_public_key_is_no_secret(self, algorithm: str) -> None:
        """HS256 with the public key as secret, which everybody knows, does not pass for it."""
        pem = public_pem(RSA if algorithm == "RS256" else EC)
        for secret in (pem, pem.strip()):
            forged = signed({"sub": "x", "exp": NOW_S + 60}, secret=secret)
            assert "algorithm" in refusal(forged, authenticator(algorithm))
            assert "algorithm" in refusal(
                signed({"sub": "x", "exp": NOW_S + 60}, {"alg": algorithm}, secret), authenticator("HS256")
            )
            assert "signature" in refusal(
                signed({"sub": "x", "exp": NOW_S + 60}, {"alg": algorithm}, secret), authenticator(algorithm)
            )

    def test_another_key(self) -> None:
        """Rightly made, but not with a key of ours."""
        assert "another key" in refusal(token(signing_key(b"x" * 32)))
        assert "another key" in refusal(token(signing_key(key_pem(new_key()))), authenticator("ES256"))

    def test_another_algorithm_of_the_same_family(self) -> None:
        """HS512 with the right secret: the key has one algorithm."""
        text = jwt.encode({"sub": "x", "exp": NOW_S + 60}, SECRET * 2, algorithm="HS512")
        assert "algorithm" in refusal(text)

    def test_the_claims_exchanged(self) -> None:
        """Header and signature of a right token around other claims."""
        header, _, signature = token().split(".")
        other = token(publish=True).split(".")[1]
        assert "signature" in refusal(f"{header}.{other}.{signature}")

    def test_extensions_and_other_types(self) -> None:
        """``crit`` asks for what we do not know; another ``typ`` is another kind of token."""
        claims = {"sub": "x", "exp": NOW_S + 60}
        assert "(crit)" in refusal(signed(claims, {"alg": "HS256", "crit": ["b64"], "b64": False}))
        assert "(typ)" in refusal(signed(claims, {"alg": "HS256", "typ": "logout+jwt"}))

    @pytest.mark.parametrize("header", [{}, {"alg": None}, {"alg": ["HS256"]}, {"alg": "HS256", "kid": 7}])
    def test_a_header_of_the_wrong_kind(self, header: dict[str, object]) -> None:
        """It cannot be read, and is not guessed at."""
        assert "header cannot be read" in refusal(signed({"sub": "x", "exp": NOW_S + 60}, header))

    def test_too_long_and_too_deep(self) -> None:
        """The size is bounded before anything is parsed, the depth while it is."""
        assert "longer than" in refusal("a" * (MAX_TOKEN_BYTES + 1))
        deep = base64.urlsafe_b64encode(b"[" * 4000).rstrip(b"=").decode()
        assert "cannot be read" in refusal(f"{deep}.e30.AAAA")
        head = base64.urlsafe_b64encode(b'{"alg":"HS256"}').rstrip(b"=").decode()
        signature = hmac.new(SECRET, f"{head}.{deep}".encode(), hashlib.sha256).digest()
        refusal(f"{head}.{deep}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}")

    @given(st.one_of(st.text(max_size=200), st.from_regex(r"\A[\w-]*\.[\w-]*\.[\w-]*\Z")))
    def test_anything_else(self, text: str) -> None:
        """No text makes anything but an ``AuthError``."""
        with pytest.raises(AuthError):
            authenticator("HS256", "RS256", "ES256").verify(text, NOW)

    @given(st.data())
    def test_a_token_with_one_character_changed(self, data: st.DataObject) -> None:
        """It is refused, or is the same token spelt in another way (base64 has spare bits at its end)."""
        text = token(publish=["btc_price"])
        place = data.draw(st.integers(0, len(text) - 1))
        other = text[:place] + data.draw(st.sampled_from("AZaz09-_.")) + text[place + 1 :]
        try:
            identity = authenticator().verify(other, NOW)
        except AuthError:
            return
        assert identity == authenticator().verify(text, NOW)
        assert other == text or place in (text.index(".") - 1, text.rindex(".") - 1, len(text) - 1)

    @given(
        st.dictionaries(
            st.sampled_from(["sub", "exp", "nbf", "iat", "aud", "iss", "publish", "channels", "x"]),
            st.recursive(
                st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
                lambda inner: (
                    st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
                ),
                max_leaves=6,
            ),
        )
    )
    def test_any_claims_rightly_signed(self, claims: dict[str, object]) -> None:
        """An identity within its bounds, or an ``AuthError``; never anything else."""
        try:
            identity = authenticator(audience=None).verify(signed(claims), NOW)
        except AuthError:
            return
        assert 0 < len(identity.subject) <= 255
        assert not identity.expired(NOW)


class TestMake:
    """``make_token`` makes nothing that would be refused."""

    @given(
        subject=st.text(min_size=1, max_size=40).filter(str.isprintable),
        lifetime_s=st.integers(1, MAX_LIFETIME_S),
        publish=st.booleans() | st.sets(st.text(min_size=1, max_size=20), max_size=5),
        channels=st.booleans() | st.sets(st.text(min_size=1, max_size=20), max_size=5),
    )
    def test_what_is_made_is_understood(
        self, subject: str, lifetime_s: int, publish: set[str] | bool, channels: set[str] | bool
    ) -> None:
        """There and back."""
        text = token(subject=subject, lifetime_s=lifetime_s, publish=publish, channels=channels)
        identity = authenticator().verify(text, NOW)
        assert identity.subject == subject
        for claim, granted in ((publish, identity.publish), (channels, identity.channels)):
            assert granted == (ALL if claim is True else frozenset(claim or ()))

    @pytest.mark.parametrize(
        "wrong",
        [
            {"subject": ""},
            {"subject": "a\nb"},
            {"lifetime_s": 0},
            {"lifetime_s": -5},
            {"publish": [""]},
            {"channels": [f"c{i}" for i in range(101)]},
            {"publish": [f"{i:064}" for i in range(100)]},
        ],
    )
    def test_what_would_be_refused_is_not_made(self, wrong: dict[str, Any]) -> None:
        """The error comes from whoever makes it, where it can be mended."""
        with pytest.raises(ValueError, match=r"\w"):
            token(**wrong)


class TestKeysAway:
    """The server's own fault is not the client's."""

    def test_temporary_while_there_are_no_keys(self) -> None:
        """The same token may do later, so the error says so."""

        class Away:
            def candidates(self, algorithm: str, kid: str | None) -> list[VerificationKey]:
                return []

            def available(self) -> bool:
                return False

        with pytest.raises(AuthError) as caught:
            Authenticator(Away()).verify(token(), NOW)
        assert caught.value.temporary


class TestPublishPolicy:
    """Who may publish."""

    @pytest.mark.parametrize(
        ("loopback_only", "live_source", "anyone"),
        [(True, False, True), (True, True, False), (False, False, False), (False, True, False)],
    )
    def test_the_default(self, loopback_only: bool, live_source: bool, anyone: bool) -> None:
        """Everybody only where this machine alone can reach the server and no real price can be falsified."""
        policy = PublishPolicy.default(loopback_only=loopback_only, live_source=live_source)
        assert policy.allows(ANONYMOUS, "btc_price", NOW) is anyone
        publisher = Identity("p", publish=frozenset({"btc_price"}), channels=ALL, expires_at_ns=NOW + 1)
        assert policy.allows(publisher, "btc_price", NOW)
        assert policy.allows(publisher, "broadcast", NOW) is anyone
        behind = PublishPolicy.default(loopback_only=loopback_only, live_source=live_source, proxied=True)
        assert not behind.allows(ANONYMOUS, "btc_price", NOW)
        assert policy.allows(publisher, "btc_price", NOW + 1) is anyone  # its token has expired

    def test_what_is_open_to_this_machine_is_not_open_to_whom_a_proxy_on_it_passes_on(self) -> None:
        """His token may allow it; otherwise nothing does."""
        policy = PublishPolicy.default(loopback_only=True, live_source=False)
        assert not policy.allows(FORWARDED, "btc_price", NOW)
        publisher = Identity("p", publish=frozenset({"btc_price"}), channels=ALL, local=False)
        assert policy.allows(publisher, "btc_price", NOW)
        assert not policy.allows(publisher, "broadcast", NOW)
