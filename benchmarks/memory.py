"""Whether the gateway's memory grows with the requests it has served."""

from dataclasses import dataclass

from benchmarks.load import Job
from benchmarks.scenarios import PLAIN
from benchmarks.servers import GATEWAY, Servers

FEW = 1_000
_CONNECTIONS = 16


@dataclass(frozen=True)
class Memory:
    """The resident size of a gateway after FEW requests, and after `requests`."""

    requests: int
    few_mb: float
    many_mb: float

    @property
    def ratio(self) -> float:
        return self.many_mb / self.few_mb


def measure(servers: Servers, requests: int) -> Memory:
    """Serve so many plain requests; the gateway must not have served any before."""
    gateway = servers.targets[GATEWAY].server
    _serve(servers, FEW)
    few_mb = gateway.rss_mb()
    _serve(servers, requests - FEW)
    return Memory(requests, few_mb, gateway.rss_mb())


def _serve(servers: Servers, requests: int) -> None:
    target = servers.targets[GATEWAY]
    servers.load.run(Job(target.url, PLAIN, target.headers, _CONNECTIONS, requests=requests))
