"""Keys: secrets long enough, PEM of the right kind, key sets that cannot smuggle anything in."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from omega_ai.data_feed.websocket.token_keys import (
    KeyConfigError,
    StaticKeys,
    create_secret,
    parse_jwks,
    public_key,
    read_key_file,
    secret_key,
    signing_key,
)
from omega_ai.tests.certificates import key_pem, new_key, new_rsa_key, public_pem

RSA = new_rsa_key()
EC = new_key()


def jwk(
    key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey, **fields: object
) -> dict[str, object]:
    """A public key as a JWK, by another library."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        base = ECAlgorithm.to_jwk(key, as_dict=True)
    elif isinstance(key, ed25519.Ed25519PublicKey):
        base = OKPAlgorithm.to_jwk(key, as_dict=True)
    else:
        base = RSAAlgorithm.to_jwk(key, as_dict=True)
    return {**base, **fields}


def jwks(*keys: dict[str, object]) -> bytes:
    return json.dumps({"keys": keys}).encode()


class TestSecrets:
    """HS256."""

    def test_made_private_and_good_enough(self, tmp_path: Path) -> None:
        """0600, and what is read back is accepted for signing and verifying."""
        path = tmp_path / "state" / "secret"
        path.parent.parent.mkdir(exist_ok=True)
        create_secret(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        secret = read_key_file(path)
        assert len(secret) == 43
        assert signing_key(secret).key == secret_key(secret).key == secret

    def test_two_are_not_alike(self, tmp_path: Path) -> None:
        """They are random."""
        create_secret(tmp_path / "a")
        create_secret(tmp_path / "b")
        assert (tmp_path / "a").read_bytes() != (tmp_path / "b").read_bytes()

    def test_never_over_another(self, tmp_path: Path) -> None:
        """Its tokens would stop working."""
        create_secret(tmp_path / "secret")
        before = (tmp_path / "secret").read_bytes()
        with pytest.raises(KeyConfigError, match="exists"):
            create_secret(tmp_path / "secret")
        assert (tmp_path / "secret").read_bytes() == before

    @pytest.mark.parametrize("secret", [b"", b"short", b"x" * 31, b" " * 40, b"x" * 31 + b"\n"])
    def test_too_short(self, secret: bytes) -> None:
        """RFC 7518: 32 bytes, white space at the ends not counted; the error does not show it."""
        with pytest.raises(KeyConfigError, match="HS256 needs 32") as caught:
            secret_key(secret)
        assert "xxx" not in str(caught.value)

    def test_a_public_key_is_not_taken_for_a_secret(self) -> None:
        """Everybody who has it could sign."""
        for pem in (public_pem(RSA), public_pem(EC), b"ssh-ed25519 " + b"A" * 68):
            with pytest.raises(KeyConfigError, match="not a secret"):
                secret_key(pem)

    def test_keys_do_not_show_in_logs(self) -> None:
        """Nor in a traceback that prints values."""
        assert "0123456789" not in repr(secret_key(b"0123456789" * 4))
        assert "0123456789" not in repr(signing_key(b"0123456789" * 4))


class TestFiles:
    """Where keys are kept."""

    def test_missing_empty_and_enormous(self, tmp_path: Path) -> None:
        """Each is one sentence with the path."""
        path = tmp_path / "secret"
        for content, words in ((None, "does not exist"), (b" \n", "is empty"), (b"x" * 70_000, "64 KiB")):
            if content is not None:
                path.write_bytes(content)
            with pytest.raises(KeyConfigError, match=words) as caught:
                read_key_file(path)
            assert str(path) in str(caught.value)
        with pytest.raises(KeyConfigError, match="cannot be read"):
            read_key_file(tmp_path)

    def test_open_to_all_is_a_warning_for_secrets_only(self, tmp_path: Path) -> None:
        """A public key may be read by everybody."""
        warnings: list[str] = []
        path = tmp_path / "key"
        path.write_bytes(b"x" * 40)
        path.chmod(0o644)
        read_key_file(path, warn=warnings.append)
        assert len(warnings) == 1
        assert f"chmod 600 '{path}'" in warnings[0]
        path.write_bytes(public_pem(EC))
        read_key_file(path, warn=warnings.append)
        assert len(warnings) == 1

    def test_a_directory_that_cannot_be_made(self, tmp_path: Path) -> None:
        """A file is in its place."""
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(KeyConfigError, match="file"):
            create_secret(tmp_path / "file" / "secret")


class TestPem:
    """Public and private keys."""

    def test_the_kind_decides_the_algorithm(self) -> None:
        """RSA: RS256. P-256: ES256. Nothing else."""
        assert public_key(public_pem(RSA)).algorithm == signing_key(key_pem(RSA)).algorithm == "RS256"
        assert public_key(public_pem(EC)).algorithm == signing_key(key_pem(EC)).algorithm == "ES256"

    def test_weak_and_other_kinds_are_refused(self) -> None:
        """RSA with 1024 bits, P-384, nonsense, and a private key where the public one belongs."""
        with pytest.raises(KeyConfigError, match="1024 bits"):
            public_key(public_pem(new_rsa_key(1024)))
        with pytest.raises(KeyConfigError, match="unsupported kind"):
            public_key(public_pem(ec.generate_private_key(ec.SECP384R1())))
        with pytest.raises(KeyConfigError, match="no public key"):
            public_key(b"hello")
        with pytest.raises(KeyConfigError, match="is a private key"):
            public_key(key_pem(EC))
        with pytest.raises(KeyConfigError, match="damaged or encrypted"):
            signing_key(key_pem(EC, b"password"))


class TestJwks:
    """Key sets."""

    def test_keys_by_name(self) -> None:
        """A token's ``kid`` chooses; without one, all of its algorithm may be it."""
        keys = StaticKeys(parse_jwks(jwks(jwk(RSA.public_key(), kid="r"), jwk(EC.public_key(), kid="e"))))
        assert [key.kid for key in keys.candidates("RS256", "r")] == ["r"]
        assert [key.kid for key in keys.candidates("ES256", None)] == ["e"]
        assert list(keys.candidates("ES256", "r")) == []
        assert list(keys.candidates("HS256", None)) == []

    def test_what_cannot_be_used_is_passed_over(self) -> None:
        """Symmetric, for encryption, of another algorithm, weak, damaged: the good one stays."""
        good = jwk(EC.public_key(), kid="good", use="sig", alg="ES256")
        document = jwks(
            {"kty": "oct", "k": "c2VjcmV0" * 8, "alg": "HS256"},
            jwk(RSA.public_key(), use="enc"),
            jwk(RSA.public_key(), alg="HS256"),
            jwk(new_rsa_key(1024).public_key()),
            jwk(ed25519.Ed25519PrivateKey.generate().public_key()),
            jwk(EC.public_key(), x="AAAA"),
            jwk(RSA.public_key(), n="!"),
            jwk(RSA.public_key(), e=7),
            {"kty": 7},
            good,
        )
        assert [key.kid for key in parse_jwks(document)] == ["good"]

    @pytest.mark.parametrize(
        "document",
        [b"", b"null", b"[]", b"{}", b'{"keys":[]}', b'{"keys":7}', b"<html>", b"[" * 5000, b"x" * 300_000],
    )
    def test_no_key_set_is_an_error(self, document: bytes) -> None:
        """So that the keys at hand are kept."""
        with pytest.raises(KeyConfigError):
            parse_jwks(document)

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=8),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["keys", "kty", "crv", "n", "e", "x", "y", "use", "alg", "kid"]),
                    inner,
                    max_size=6,
                )
            ),
        )
    )
    def test_any_json_is_keys_or_an_error(self, document: object) -> None:
        """Nothing that an identity provider may send gets out as another exception."""
        for candidate in (document, {"keys": [document, {"kty": "RSA", "n": document, "e": "AQAB"}]}):
            with pytest.raises(KeyConfigError):
                parse_jwks(json.dumps(candidate).encode())
