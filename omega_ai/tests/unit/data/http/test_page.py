"""The page's files as the server gives them."""

from __future__ import annotations

import re

import aiohttp
import pytest
import yarl

from omega_ai.data_feed.http.app import Runner
from omega_ai.tests.unit.data.http.fake_view import FakeView

Http = aiohttp.ClientSession


async def linked_files(http: Http) -> list[str]:
    async with http.get("/") as response:
        text = await response.text()
    return re.findall(r'"(static/[^"]+)"', text)


async def test_every_file_that_the_page_names_is_there_and_may_be_kept_for_ever(http: Http) -> None:
    """Under a folder named by the hash of all files."""
    files = await linked_files(http)
    assert len(files) >= 3
    for name in files:
        async with http.get("/" + name) as response:
            assert response.status == 200, name
            assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"
            assert await response.read()


async def test_modules_that_a_module_imports_are_there_too(http: Http) -> None:
    """Relative imports resolve under the same folder."""
    files = await linked_files(http)
    to_do = [name for name in files if name.endswith(".js")]
    seen: set[str] = set()
    while to_do:
        name = to_do.pop()
        seen.add(name)
        async with http.get("/" + name) as response:
            assert response.status == 200, name
            assert response.content_type == "text/javascript"
            text = await response.text()
        folder = name.rpartition("/")[0]
        imported = {f"{folder}/{other}" for other in re.findall(r'from "\./([^"]+)"', text)}
        to_do += sorted(imported - seen)
    assert any(name.endswith("omega-client.js") for name in seen)


async def test_the_page_itself_is_asked_for_each_time(http: Http) -> None:
    """It names the version of its files."""
    async with http.get("/") as response:
        assert response.headers["Cache-Control"] == "no-cache"
        assert response.content_type == "text/html"


async def test_the_policy_allows_the_feed_and_nothing_inline(http: Http, view: FakeView) -> None:
    """Scripts and styles from here alone; connections to here and to the WebSocket addresses."""
    view.urls = ["ws://127.0.0.1:1234", "wss://feed.example:99"]
    async with http.get("/") as response:
        policy = dict(
            part.partition(" ")[::2] for part in response.headers["Content-Security-Policy"].split("; ")
        )
        text = await response.text()
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert policy["connect-src"] == "'self' ws://127.0.0.1:1234 wss://feed.example:99"
    assert policy["frame-ancestors"] == "'none'"
    assert not re.search(r"<script(?![^>]* src=)", text), "an inline script"
    assert "<style" not in text
    assert not re.search(r"\son\w+=|\sstyle=", text), "an inline handler or style"
    assert not re.search(r'(?:src|href)="(?:https?:)?//', text), "a file from elsewhere"


async def test_a_browser_that_takes_gzip_gets_it(http: Http, runner: Runner) -> None:
    """And one that does not gets the plain text; both are the same page."""
    async with aiohttp.ClientSession(auto_decompress=True) as session:
        async with session.get(runner.url + "/", headers={"Accept-Encoding": "gzip"}) as packed:
            one = await packed.text()
            assert packed.headers["Content-Encoding"] == "gzip"
        async with session.get(runner.url + "/", headers={"Accept-Encoding": "identity"}) as plain:
            two = await plain.text()
            assert "Content-Encoding" not in plain.headers
    assert one == two


@pytest.mark.parametrize(
    "path",
    [
        "/static/{v}/../../app.py",
        "/static/{v}/..%2f..%2fapp.py",
        "/static/{v}/%2e%2e/%2e%2e/__init__.py",
        "/static/{v}//etc/passwd",
        "/static/{v}/..%5c..%5capp.py",
        "/static/{v}/index.html%00.js",
        "/static/{v}/__init__.py",
        "/static/{v}/",
        "/static/0000000000000000/omega-client.js",
    ],
)
async def test_nothing_but_the_pages_files_can_be_reached(http: Http, runner: Runner, path: str) -> None:
    """A table of names, no way into the disk; an old version's address is gone."""
    version = (await linked_files(http))[0].split("/")[1]
    url = yarl.URL(runner.url + path.format(v=version), encoded=True)
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        assert response.status == 404
