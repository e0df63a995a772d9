"""Toxiproxy's HTTP API, over our proxies: its clients work unchanged.

Routes, fields, defaults, status codes and texts are those of Toxiproxy 2.12 (its README, "HTTP API", and what
its server answers); ``docs/testkit/proxy.md`` lists what is otherwise.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, Final

import prometheus_client.exposition
from aiohttp import web
from prometheus_client import CollectorRegistry

from omega_ai import __version__
from omega_ai.testkit.faults import BadFault
from omega_ai.testkit.faults.model import Toxic
from omega_ai.testkit.proxy.collection import ApiError, ProxyCollection
from omega_ai.testkit.proxy.documents import (
    MAX_TOXICS,
    bad_body,
    convert,
    fields_of,
    read_json,
    read_proxy,
    read_toxic,
    read_update,
    show_proxy,
    show_toxic,
    show_toxics,
)
from omega_ai.testkit.proxy.figures import Figures
from omega_ai.testkit.proxy.service import FaultProxy

TOXIPROXY_VERSION: Final = "2.12.0"
"""The version whose API this is; clients look at the first number."""
MAX_BODY: Final = 1 << 20

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_app(collection: ProxyCollection) -> web.Application:
    """The application; whoever runs it closes ``collection``."""
    app = web.Application(middlewares=[_as_toxiproxy], client_max_size=MAX_BODY)
    api = Api(collection)
    routes: list[tuple[str, str, Handler]] = [
        ("GET", "/proxies", api.list_proxies),
        ("POST", "/proxies", api.create_proxy),
        ("POST", "/populate", api.populate),
        ("GET", "/proxies/{proxy}", api.show_proxy),
        ("POST", "/proxies/{proxy}", api.update_proxy),
        ("PATCH", "/proxies/{proxy}", api.update_proxy),
        ("DELETE", "/proxies/{proxy}", api.delete_proxy),
        ("GET", "/proxies/{proxy}/toxics", api.list_toxics),
        ("POST", "/proxies/{proxy}/toxics", api.create_toxic),
        ("GET", "/proxies/{proxy}/toxics/{toxic}", api.show_toxic),
        ("POST", "/proxies/{proxy}/toxics/{toxic}", api.update_toxic),
        ("PATCH", "/proxies/{proxy}/toxics/{toxic}", api.update_toxic),
        ("DELETE", "/proxies/{proxy}/toxics/{toxic}", api.delete_toxic),
        ("POST", "/reset", api.reset),
        ("GET", "/version", api.version),
        ("GET", "/metrics", api.metrics),
    ]
    for method, path, handler in routes:
        app.router.add_route(method, path, handler)
    return app


class Api:
    """The handlers."""

    def __init__(self, collection: ProxyCollection) -> None:
        self._collection = collection
        self._registry = CollectorRegistry()
        self._registry.register(Figures(collection))

    async def list_proxies(self, request: web.Request) -> web.Response:
        """All proxies by name."""
        del request
        proxies = self._collection.proxies
        return _json({name: show_proxy(proxies[name]) for name in sorted(proxies)})

    async def create_proxy(self, request: web.Request) -> web.Response:
        """A new proxy; enabled unless the body says otherwise."""
        spec = read_proxy(read_json(await request.read()))
        return _json(show_proxy(await self._collection.create(spec)), 201)

    async def populate(self, request: web.Request) -> web.Response:
        """Several proxies; those that are there already as wanted stay as they are."""
        proxies: list[FaultProxy] = []
        error: ApiError | None
        try:
            value = read_json(await request.read())
            if not isinstance(value, list):
                raise bad_body("expected a JSON array of proxies")
            proxies, error = await self._collection.populate([read_proxy(item) for item in value])
        except ApiError as unread:
            error = unread
        shown = {"proxies": [show_proxy(proxy) for proxy in proxies] or None}
        if error is None:
            return _json(shown, 201)
        return _json({"error": str(error), "status": error.status, **shown}, error.status)

    async def show_proxy(self, request: web.Request) -> web.Response:
        """One proxy."""
        return _json(show_proxy(self._proxy(request)))

    async def update_proxy(self, request: web.Request) -> web.Response:
        """Change a proxy's addresses, or whether it is enabled; what is not given stays."""
        proxy = self._proxy(request)
        given = fields_of(read_json(await request.read()), ("listen", "upstream", "enabled"))
        await self._collection.update(
            proxy,
            listen=convert(given.get("listen", proxy.listen), str),
            upstream=convert(given.get("upstream", proxy.upstream), str),
            enabled=convert(given.get("enabled", proxy.enabled), bool),
        )
        return _json(show_proxy(proxy))

    async def delete_proxy(self, request: web.Request) -> web.Response:
        """Close a proxy and forget it."""
        await self._collection.remove(request.match_info["proxy"])
        return web.Response(status=204)

    async def list_toxics(self, request: web.Request) -> web.Response:
        """A proxy's toxics."""
        return _json(show_toxics(self._proxy(request)))

    async def create_toxic(self, request: web.Request) -> web.Response:
        """Place a toxic."""
        proxy = self._proxy(request)
        toxic = read_toxic(read_json(await request.read()))
        if proxy.get(toxic.name) is not None:
            raise ApiError("toxic already exists", 409)
        if len(proxy.toxics) >= MAX_TOXICS:
            raise ApiError(f"a proxy has no more than {MAX_TOXICS} toxics", 400)
        proxy.place(toxic)
        return _json(show_toxic(toxic))

    async def show_toxic(self, request: web.Request) -> web.Response:
        """One toxic."""
        return _json(show_toxic(self._toxic(request)[1]))

    async def update_toxic(self, request: web.Request) -> web.Response:
        """Change a toxic's attributes or toxicity; what is not given stays."""
        body = await request.read()
        proxy, toxic = self._toxic(request)
        changed = read_update(toxic, read_json(body))
        proxy.update(changed)
        return _json(show_toxic(changed))

    async def delete_toxic(self, request: web.Request) -> web.Response:
        """Take a toxic away."""
        proxy, toxic = self._toxic(request)
        proxy.remove(toxic)
        return web.Response(status=204)

    async def reset(self, request: web.Request) -> web.Response:
        """Enable all proxies, take all toxics away."""
        del request
        await self._collection.reset()
        return web.Response(status=204)

    async def version(self, request: web.Request) -> web.Response:
        """The version of Toxiproxy whose API this is."""
        del request
        body = f'{{"version": "{TOXIPROXY_VERSION}"}}\n'.encode()
        return web.Response(body=body, headers={"Content-Type": "application/json;charset=utf-8"})

    async def metrics(self, request: web.Request) -> web.Response:
        """Bytes and connections, for Prometheus."""
        encode, content_type = prometheus_client.exposition.choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(self._registry), headers={"Content-Type": content_type})

    def _proxy(self, request: web.Request) -> FaultProxy:
        return self._collection.get(request.match_info["proxy"])

    def _toxic(self, request: web.Request) -> tuple[FaultProxy, Toxic]:
        proxy = self._proxy(request)
        toxic = proxy.get(request.match_info["toxic"])
        if toxic is None:
            raise ApiError("toxic not found", 404)
        return proxy, toxic


@web.middleware
async def _as_toxiproxy(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Browsers are kept out (a page must not steer this through its reader); errors have Toxiproxy's form."""
    response: web.StreamResponse
    try:
        if request.match_info.http_exception is not None:
            raise request.match_info.http_exception
        if request.headers.get("User-Agent", "").startswith("Mozilla/"):
            response = _text("User agent not allowed", 403)
        else:
            response = await handler(request)
    except ApiError as error:
        response = _text(_encode({"error": str(error), "status": error.status}), error.status)
    except BadFault as error:
        response = _text(_encode({"error": f"bad request body: {error}", "status": 400}), 400)
    except web.HTTPNotFound:
        return _text("404 page not found", 404)
    except web.HTTPMethodNotAllowed:
        return web.Response(status=405)
    except web.HTTPRequestEntityTooLarge:
        text = f"bad request body: more than {MAX_BODY} bytes"
        response = _text(_encode({"error": text, "status": 413}), 413)
    response.headers["X-Toxiproxy-Request-Id"] = secrets.token_hex(10)
    response.headers["Server"] = f"omega-btc-ai/{__version__}"
    return response


def _text(text: str, status: int) -> web.Response:
    return web.Response(
        text=f"{text}\n",
        status=status,
        headers={"X-Content-Type-Options": "nosniff"},
        content_type="text/plain",
    )


def _encode(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(
        body=_encode(value).encode(), status=status, headers={"Content-Type": "application/json"}
    )
