"""Faults in pytest: the fixture ``fault_proxy``, and ``@pytest.mark.ws_network("3g")``.

Loaded by ``pytest_plugin``. Nothing of the test kit is imported before it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

if TYPE_CHECKING:
    from omega_ai.testkit.faults.model import Toxic
    from omega_ai.testkit.networks import Quality
    from omega_ai.testkit.portal import Portal
    from omega_ai.testkit.proxy import FaultProxy

T = TypeVar("T")


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers",
        "ws_network(name): the clients of this test connect over such a link: 3g, lte, satellite ...",
    )


class ProxyHandle:
    """A fault proxy before the server under test, for tests that are not coroutines.

    ``add("latency", latency=100)`` places a fault, ``remove`` and ``clear`` take faults away,
    ``network("3g")`` makes a link of it, ``reset`` cuts all connections; ``url`` is where clients connect.
    """

    def __init__(self, portal: Portal, proxy: FaultProxy) -> None:
        self._portal = portal
        self.proxy = proxy

    @property
    def url(self) -> str:
        """Where clients connect."""
        return self.proxy.url

    @property
    def connections(self) -> int:
        """How many stand."""
        return self._call(lambda: self.proxy.connections)

    def add(self, fault: Any, **options: Any) -> Toxic:
        """See ``FaultProxy.add``."""
        return self._call(lambda: self.proxy.add(fault, **options))

    def remove(self, toxic: Toxic | str) -> None:
        """See ``FaultProxy.remove``."""
        self._call(lambda: self.proxy.remove(toxic))

    def clear(self) -> None:
        """Take all faults away."""
        self._call(self.proxy.clear)

    def reset(self) -> int:
        """Reset every connection; how many there were."""
        return self._call(self.proxy.reset_connections)

    def network(self, name: str) -> None:
        """Make it a link of that quality: see ``networks.NETWORKS``."""
        from omega_ai.testkit.networks import lay

        self._call(lambda: lay(name, self.proxy.add))

    def _call(self, work: Callable[[], T]) -> T:
        async def there() -> T:
            return work()

        return self._portal.call(there())


@pytest.fixture(scope="session")
def ws_networks() -> Mapping[str, Quality]:
    """Links by name, with their figures."""
    from omega_ai.testkit.networks import NETWORKS

    return NETWORKS


@pytest.fixture
def fault_proxy(request: pytest.FixtureRequest, ws_url: str, ws_portal: Portal) -> Iterator[ProxyHandle]:
    """A fault proxy before the server under test; the test's clients (``ws``, ``ws_context``) use it."""
    from dataclasses import replace

    from omega_ai.testkit.proxy import FaultProxy
    from omega_ai.testkit.pytest_plugin import seed_of

    proxy = FaultProxy(ws_url, seed=seed_of(request.config))
    ws_portal.call(proxy.enable())
    try:
        context = request.getfixturevalue("ws_context")
        context.target = replace(context.target, url=proxy.url)
        yield ProxyHandle(ws_portal, proxy)
    finally:
        ws_portal.call(proxy.close())


@pytest.fixture(autouse=True)
def _ws_network(request: pytest.FixtureRequest) -> None:
    """For tests with the marker: lay the link before the server."""
    marker = request.node.get_closest_marker("ws_network")
    if marker is None:
        return
    if len(marker.args) != 1 or marker.kwargs:
        raise pytest.UsageError('ws_network takes one name: @pytest.mark.ws_network("3g")')
    from omega_ai.testkit.networks import UnknownNetwork

    handle: ProxyHandle = request.getfixturevalue("fault_proxy")
    try:
        handle.network(str(marker.args[0]))
    except UnknownNetwork as error:
        raise pytest.UsageError(f"ws_network: {error}") from None
