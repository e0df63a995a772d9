"""All proxies of one process, by name, as Toxiproxy keeps them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Final

import msgspec

from omega_ai.core.certificates import CertificateError
from omega_ai.testkit.proxy.address import BadAddress, join_host_port, listen_address
from omega_ai.testkit.proxy.records import Event
from omega_ai.testkit.proxy.service import FaultProxy
from omega_ai.testkit.proxy.tls import ProxyTls

MAX_PROXIES: Final = 1000


class ApiError(Exception):
    """Why a request cannot be done, as Toxiproxy's API says it: ``status`` and a text."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class ProxySpec(msgspec.Struct, frozen=True, kw_only=True):
    """A proxy as a request or a configuration file describes it."""

    name: Annotated[str, msgspec.Meta(max_length=200)] = ""
    listen: Annotated[str, msgspec.Meta(max_length=300)] = ""
    upstream: Annotated[str, msgspec.Meta(max_length=2000)] = ""
    enabled: bool = True
    tls: ProxyTls | None = None
    """Ours: terminate TLS (``{}``: with the proxy's own certificate)."""
    toxics: list[dict[str, Any]] = []
    """Ours, in a configuration file alone: toxics to begin with."""


class ProxyCollection:
    """Proxies by name; every change is made alone."""

    def __init__(self, *, seed: int = 0, on_event: Callable[[FaultProxy, Event], None] | None = None) -> None:
        self.seed = seed
        self._on_event = on_event
        self._proxies: dict[str, FaultProxy] = {}
        self._lock = asyncio.Lock()

    @property
    def proxies(self) -> Mapping[str, FaultProxy]:
        """All of them."""
        return self._proxies

    def get(self, name: str) -> FaultProxy:
        """The proxy of that name.

        Raises:
            ApiError: 404.
        """
        found = self._proxies.get(name)
        if found is None:
            raise ApiError("proxy not found", 404)
        return found

    async def create(self, spec: ProxySpec) -> FaultProxy:
        """A new proxy.

        Raises:
            ApiError: 400 a field is missing, 409 the name is taken, 500 it cannot listen.
        """
        if not spec.name:
            raise ApiError("missing required field: name", 400)
        if not spec.upstream:
            raise ApiError("missing required field: upstream", 400)
        async with self._lock:
            if spec.name in self._proxies:
                raise ApiError("proxy already exists", 409)
            return await self._add(spec)

    async def populate(self, specs: Sequence[ProxySpec]) -> tuple[list[FaultProxy], ApiError | None]:
        """Create what is missing, replace what is otherwise, leave alone what is as wanted.

        Those that are there then, up to the first error, and that.
        """
        for number, spec in enumerate(specs, start=1):
            for field in ("name", "upstream"):
                if not getattr(spec, field):
                    return [], ApiError(f"missing required field: {field} at proxy {number}", 400)
        done: list[FaultProxy] = []
        async with self._lock:
            for spec in specs:
                try:
                    existing = self._proxies.get(spec.name)
                    if existing is not None:
                        if not await differs(existing, spec.listen, spec.upstream):
                            done.append(existing)
                            continue
                        await existing.close()
                        del self._proxies[spec.name]
                    done.append(await self._add(spec))
                except ApiError as error:
                    return done, error
        return done, None

    async def update(self, proxy: FaultProxy, *, listen: str, upstream: str, enabled: bool) -> None:
        """Change where a proxy listens and leads, and whether it is enabled.

        Raises:
            ApiError: 500 it cannot listen, or an address is none.
        """
        async with self._lock:
            if await differs(proxy, listen, upstream):
                try:
                    await proxy.redirect(listen=listen, upstream=upstream)
                except BadAddress as error:
                    raise ApiError(str(error), 500) from None
            if enabled:
                await _enable(proxy)
            else:
                await proxy.disable()

    async def remove(self, name: str) -> None:
        """Close a proxy and forget it.

        Raises:
            ApiError: 404.
        """
        async with self._lock:
            await self.get(name).close()
            del self._proxies[name]

    async def reset(self) -> None:
        """Enable all, take all toxics away; windows count from now.

        Raises:
            ApiError: 500 one cannot listen.
        """
        async with self._lock:
            for proxy in self._proxies.values():
                await _enable(proxy)
                proxy.clear()
                proxy.restart_windows()

    async def close(self) -> None:
        """Close all."""
        async with self._lock:
            while self._proxies:
                await self._proxies.popitem()[1].close()

    async def _add(self, spec: ProxySpec) -> FaultProxy:
        if len(self._proxies) >= MAX_PROXIES:
            raise ApiError(f"there are {MAX_PROXIES} proxies already", 500)
        try:
            proxy = FaultProxy(
                spec.upstream,
                listen=spec.listen or "127.0.0.1:0",
                name=spec.name,
                seed=self.seed,
                tls=spec.tls,
                on_event=self._on_event,
            )
        except BadAddress as error:
            raise ApiError(str(error), 500) from None
        if spec.enabled:
            try:
                await _enable(proxy)
            except BaseException:
                await proxy.close()
                raise
        self._proxies[spec.name] = proxy
        return proxy


async def differs(proxy: FaultProxy, listen: str, upstream: str) -> bool:
    """Whether the proxy listens or leads elsewhere; names are resolved first.

    Raises:
        ApiError: 500 ``listen`` is no address.
    """
    if proxy.upstream != upstream:
        return True
    if proxy.listen == listen:
        return False
    try:
        _, address = await asyncio.get_running_loop().run_in_executor(None, listen_address, listen)
    except BadAddress as error:
        raise ApiError(str(error), 500) from None
    except OSError as error:
        raise ApiError(f"lookup {listen.rpartition(':')[0]}: {error.strerror or error}", 500) from None
    return proxy.listen != join_host_port(*address)


async def _enable(proxy: FaultProxy) -> None:
    try:
        await proxy.enable()
    except BadAddress as error:
        raise ApiError(f"listen tcp: {error}", 500) from None
    except OSError as error:
        raise ApiError(f"listen tcp {await _shown(proxy)}: bind: {_lower(error)}", 500) from None
    except CertificateError as error:
        raise ApiError(str(error), 500) from None


async def _shown(proxy: FaultProxy) -> str:
    try:
        found = await asyncio.get_running_loop().run_in_executor(None, listen_address, proxy.listen)
    except (OSError, BadAddress):
        return proxy.listen
    return join_host_port(*found[1])


def _lower(error: OSError) -> str:
    text = error.strerror or str(error)
    return text[:1].lower() + text[1:]
