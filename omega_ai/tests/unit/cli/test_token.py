"""Making secrets and tokens."""

from __future__ import annotations

import stat
import time
from pathlib import Path

import pytest

from omega_ai.cli.app import main
from omega_ai.data_feed.websocket.auth import ALL, Authenticator, Identity
from omega_ai.data_feed.websocket.token_keys import StaticKeys, secret_key


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A secret, made by the command."""
    path = tmp_path / "secret"
    assert main(["token", "--init", "--token-secret", str(path)]) == 0
    return path


def verified(token: str, secret: Path) -> Identity:
    """Whose token the server takes it for."""
    keys = StaticKeys([secret_key(secret.read_bytes())])
    return Authenticator(keys).verify(token, time.time_ns())


def test_secret_is_for_its_owner_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Mode 0600; the secret itself is not printed."""
    secret = tmp_path / "secret"
    assert main(["token", "--init", "--token-secret", str(secret)]) == 0
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    shown = capsys.readouterr()
    assert secret.read_text().strip() not in shown.out + shown.err
    assert "omega serve --token-secret" in shown.err


def test_secret_is_never_overwritten(secret: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Tokens that were made with it would stop working."""
    before = secret.read_bytes()
    assert main(["token", "--init", "--token-secret", str(secret)]) == 3
    assert "exists" in capsys.readouterr().err
    assert secret.read_bytes() == before


def test_token_is_alone_on_standard_output(secret: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``TOKEN=$(omega token ...)`` works, and the server takes it for what was asked."""
    capsys.readouterr()
    arguments = ["--subject", "desk-7", "--publish", "btc_price", "--channel", "trades", "--lifetime", "2h"]
    assert main(["token", "--token-secret", str(secret), *arguments]) == 0
    shown = capsys.readouterr()
    identity = verified(shown.out.removesuffix("\n"), secret)
    assert identity.subject == "desk-7"
    assert identity.publish == frozenset({"btc_price"})
    assert identity.channels == frozenset({"trades"})
    assert "valid for 2 h" in shown.err


def test_token_without_more_may_read_all_and_publish_nothing(
    secret: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The defaults are those of the contract."""
    capsys.readouterr()
    assert main(["token", "--token-secret", str(secret), "--subject", "x"]) == 0
    identity = verified(capsys.readouterr().out.strip(), secret)
    assert identity.channels is ALL
    assert identity.publish == frozenset()


def test_all_means_every_channel(secret: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Those to come included."""
    capsys.readouterr()
    assert main(["token", "--token-secret", str(secret), "--subject", "x", "--publish", "all"]) == 0
    assert verified(capsys.readouterr().out.strip(), secret).publish is ALL


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--subject is required"),
        (["--subject", "x", "--lifetime", "soon"], "--lifetime 'soon' is not a length of time"),
        (["--subject", "x", "--lifetime", "31d"], "--lifetime must be 1s to 30d"),
        (["--subject", "x", "--lifetime", "0"], "--lifetime must be 1s to 30d"),
        (["--subject", "x", "--publish", "trades"], "--publish takes no 'trades'"),
        (["--subject", "x", "--channel", "prices"], "--channel takes no 'prices'"),
        (["--subject", ""], "a subject (sub) has 1 to 255 printable characters"),
    ],
)
def test_a_token_that_the_server_would_refuse_is_not_made(
    arguments: list[str], said: str, secret: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Told at once, not by the server later."""
    capsys.readouterr()
    assert main(["token", "--token-secret", str(secret), *arguments]) == 3
    shown = capsys.readouterr()
    assert shown.out == ""
    assert said in shown.err


def test_missing_secret_is_told_with_how_to_make_it(
    state_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a file named, the secret lies in the user's state directory."""
    assert main(["token", "--subject", "x"]) == 3
    shown = capsys.readouterr().err
    assert str(state_home) in shown
    assert "omega token --init" in shown
    assert main(["token", "--init"]) == 0
    assert main(["token", "--subject", "x"]) == 0
