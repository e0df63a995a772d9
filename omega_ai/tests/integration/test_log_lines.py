"""What a running feed writes to its log: one line for each connection, and nobody's secrets."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest
import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from omega_ai.data_feed.observability.alert_sinks import SinkError, WebhookSink
from omega_ai.data_feed.observability.alerts import Alert, Notice
from omega_ai.data_feed.observability.logs import LIBRARIES, LINES_PER_MINUTE, Format, set_up_logs
from omega_ai.tests.feed_server import FeedThread, Listening, quiet_settings

# Nothing here looks like what it is by its form alone; the last ones do.
SIGNING = "kestrel-signing-secret-of-thirty-two-bytes!"
HOOK = "kestrel-hook"
COOKIE = "kestrel-cookie"
QUERY = "kestrel-query"
BODY = "kestrel-body"
NAME = "kestrel-name"
BASIC = "kestrel-basic"
PRICE = '{"type":"btc_price","price":61800.10,"volume":2,"timestamp":"2026-01-01T00:00:00Z"}'
WORDS = (SIGNING, HOOK, COOKIE, QUERY, BODY, NAME, BASIC, "kestrel")


class Log:
    """The log of feeds in this process, gathered in memory."""

    def __init__(self, line_format: Format) -> None:
        self._stream = io.StringIO()
        set_up_logs("debug", line_format, stream=self._stream, for_good=False)

    @property
    def text(self) -> str:
        """All of it so far."""
        return self._stream.getvalue()

    def lines(self, event: str) -> list[dict[str, Any]]:
        """The lines of one kind, in the format for machines."""
        found = [json.loads(line) for line in self.text.splitlines()]
        return [line for line in found if line["event"] == event]

    async def until(self, event: str, count: int) -> list[dict[str, Any]]:
        """Wait for so many lines of one kind."""
        async with asyncio.timeout(10):
            while len(found := self.lines(event)) < count:
                await asyncio.sleep(0.02)
        return found


@pytest.fixture
def log(request: pytest.FixtureRequest) -> Iterator[Log]:
    """The log, in the format that the test asks for; everything is put back afterwards."""
    root = logging.getLogger()
    before = root.level, list(root.handlers)
    levels = {name: logging.getLogger(name).level for name in LIBRARIES}
    yield Log(getattr(request, "param", "json"))
    structlog.reset_defaults()
    root.setLevel(before[0])
    root.handlers[:] = before[1]
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@asynccontextmanager
async def running(**settings: Any) -> AsyncIterator[Listening]:
    feed = FeedThread(quiet_settings(**settings))
    await asyncio.to_thread(feed.__enter__)
    try:
        yield feed.at
    finally:
        await asyncio.to_thread(feed.__exit__, None, None, None)


async def receive_error(client: ClientConnection) -> dict[str, Any]:
    async with asyncio.timeout(10):
        while (message := json.loads(await client.recv()))["type"] != "error":
            pass
    return dict(message)


async def test_a_connections_life_is_one_line_with_its_id_code_and_reason(log: Log) -> None:
    """Whoever ended it; and an error's correlation leads to that line, and to one of its own."""
    async with running(strict=True) as at:
        async with connect(at.ws) as client:
            await client.close(3999, "off to lunch")
        (first,) = await log.until("connection_closed", 1)
        async with connect(at.ws) as client:
            await client.send('{"type":"no such type"}')
            error = await receive_error(client)
            with pytest.raises(ConnectionClosed):
                await client.recv()
        second = (await log.until("connection_closed", 2))[-1]
        (client_error,) = log.lines("client_error")
        client = await connect(at.ws)
        client.transport.abort()
        third = (await log.until("connection_closed", 3))[-1]
        with pytest.raises(InvalidStatus):
            await connect(f"{at.ws}/elsewhere")
        (refused,) = await log.until("connection_refused", 1)
    fields = {"peer": "127.0.0.1", "client": "127.0.0.1", "transport": "ws", "subject": "anonymous"}
    assert first.items() >= fields.items()
    assert (first["code"], first["reason"], first["by"]) == (3999, "off to lunch", "client")
    assert 0 <= first["seconds"] < 60
    assert (second["code"], second["by"], second["received"]) == (1008, "server", 1)
    assert second["reason"].startswith("strict: ")
    assert error["correlation"] == client_error["correlation"] == f"{second['connection']}.1"
    assert (client_error["code"], client_error["field"]) == ("unknown_type", "type")
    assert (third["code"], third["reason"], third["by"]) == (1006, "", "network")
    assert len({line["connection"] for line in (first, second, third)}) == 3
    assert (refused["status"], refused["peer"]) == (404, "127.0.0.1")


async def test_a_proxy_that_nobody_named_is_told_of_once_and_its_clients_publish_nothing(log: Log) -> None:
    """What to set is in the line, and not what the proxy says of them. Who comes directly may publish."""
    async with running() as at:
        for _ in range(3):
            headers = {"X-Forwarded-For": "203.0.113.99", "Via": NAME}
            async with connect(at.ws, additional_headers=headers) as stranger:
                await stranger.send(PRICE)
                assert (await receive_error(stranger))["code"] == "unauthorized"
        async with connect(at.ws) as here:
            await here.send(PRICE)
            assert json.loads(await here.recv())["seq"] == 1
    (line,) = log.lines("proxy_not_trusted")
    assert (line["level"], line["peer"], line["headers"]) == (
        "warning",
        "127.0.0.1",
        ["via", "x-forwarded-for"],
    )
    assert "--trusted-proxy" in line["advice"]
    assert NAME not in log.text
    assert "203.0.113.99" not in log.text


async def test_a_thousand_connections_in_a_moment_are_a_few_lines(log: Log) -> None:
    """The rest of the minute is only counted, so that an attack does not fill the disk."""
    async with running() as at:
        host, _, port = at.ws.removeprefix("ws://").partition(":")
        for _ in range(20):
            pairs = [await asyncio.open_connection(host, int(port)) for _ in range(50)]
            for _, writer in pairs:
                writer.write(b"GET /nowhere HTTP/1.1\r\n\r\n")
            for reader, writer in pairs:
                assert b"HTTP/1.1 4" in await reader.read()
                writer.close()
    # A minute may have turned while it lasted, on a slow machine.
    assert 1 <= len(log.lines("connection_refused")) <= 2 * LINES_PER_MINUTE


@pytest.mark.parametrize("log", ["json", "console"], indirect=True)
async def test_no_secret_token_or_payload_gets_into_the_log(tmp_path: Path, log: Log) -> None:
    """Poured in wherever a client or a setting may carry one, at the most talkative level."""
    key = tmp_path / "key"
    key.write_text(SIGNING)
    key.chmod(0o600)
    good = jwt.encode({"sub": "desk", "exp": time.time() + 600}, SIGNING, algorithm="HS256")
    forged = jwt.encode({"sub": "desk", "exp": time.time() + 600}, "x" * 32, algorithm="HS256")
    tokens = (good, forged, forged[:-4], NAME)
    hook = f"http://desk:{HOOK}@127.0.0.1:9/?token={HOOK}"
    async with running(http_port=0, token_secret=key, alert_webhook=hook) as at:
        await pour(at, tokens)
        answers = ""
        async with aiohttp.ClientSession() as http:
            for path in ("/metrics", "/api/status", "/readyz"):
                async with http.get(f"{at.http}{path}") as response:
                    answers += await response.text()
    sink = WebhookSink(hook)
    with pytest.raises(SinkError) as failed:
        await sink.tell(Notice(Alert("OmegaBrokerDown", "critical", "", "text", 0), "firing"))
    structlog.get_logger().error("alert_not_delivered", sink=sink.name, why=str(failed.value))
    text = log.text + answers
    for event in ("connection_closed", "connection_refused", "client_error", "alert_not_delivered"):
        assert event in text
    for secret in (*WORDS, *(token[:40] for token in tokens)):
        assert secret not in text, f"{secret} in {[line for line in text.splitlines() if secret in line][:3]}"


async def pour(at: Listening, tokens: tuple[str, ...]) -> None:
    ws, http_url = at.ws, str(at.http)
    for token in tokens:
        for headers in ({"Authorization": f"Bearer {token}"}, {"Authorization": f"Basic {BASIC}"}):
            for path in ("/", f"/?token={token}&access_token={QUERY}", f"/{QUERY}?channels={token}"):
                try:
                    async with connect(ws + path, additional_headers=headers | {"Cookie": COOKIE}) as client:
                        await client.ping()
                except InvalidStatus:
                    pass
        async with connect(ws) as client:
            for message in (
                {"type": "auth", "token": token},
                {"type": "auth", "token": [token], "password": BODY},
                {"type": token},
                {"type": "subscribe", "channels": [token, NAME], "id": token},
                {"type": "subscribe", "channels": ["btc_price"], "since": {token: {"epoch": NAME, "seq": 1}}},
                {"type": "history", "channel": token},
                {"type": "btc_price", "price": token, "volume": 1, "timestamp": BODY},
                {"type": "broadcast", "timestamp": "2026-01-01T00:00:00Z", "secret": BODY, NAME: token},
                {"type": "test", "payload": BODY * 50},
            ):
                await client.send(json.dumps(message))
            await client.send(f'{{"type": "{BODY}')
            await client.ping()
            # The reason is for the log, so a client that writes words there has them there; but no token.
            await client.close(3000, "bye" if token == NAME else f"bye {token}"[:100])
    client = await connect(ws)
    await client.send(b"\x00" + BODY.encode())
    async with asyncio.timeout(10):
        await client.wait_closed()
    async with aiohttp.ClientSession(cookies={"session": COOKIE}) as http:
        for path in (f"/{QUERY}", f"/api/history?channel={NAME}&{QUERY}=1", f"/api/candles?symbol={NAME}"):
            headers = {"Authorization": f"Bearer {tokens[0]}", "X-Secret": BODY}
            async with http.get(http_url + path, headers=headers) as response:
                assert response.status in (400, 404)
        async with http.post(f"{http_url}/api/price", data=BODY) as response:
            assert response.status == 405
        async with http.get(http_url, headers={"Host": f"{NAME}.example"}) as response:
            assert response.status == 421
