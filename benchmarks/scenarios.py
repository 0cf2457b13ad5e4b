"""What is asked of the targets, and the rounds in which they are asked in turn."""

import json
from dataclasses import dataclass
from statistics import median

from benchmarks.load import Job
from benchmarks.servers import (
    CACHED,
    CAPPED,
    DIRECT,
    GATEWAY,
    PASSTHROUGH,
    PORTKEY,
    STRICT,
    STRICT_CAPPED,
    TELLS_CPU_TIMES,
    TWO_RESOURCES,
    Servers,
    Target,
)

# One measurement: figures by name.
Figures = dict[str, float]
# One round of a scenario: the figures of each target, by the target's name.
Round = dict[str, Figures]


@dataclass(frozen=True)
class Scenario:
    """A request, how many connections send it, and to which targets.

    `figures` are those that tell something here.
    """

    name: str
    connections: int
    body: str
    figures: tuple[str, ...]
    targets: tuple[str, ...] = (DIRECT, PASSTHROUGH, GATEWAY)


@dataclass(frozen=True)
class Ratio:
    """How one target stands to another: the median over the rounds, and the extremes."""

    median: float
    least: float
    most: float


def _chat(text: str, **members: object) -> str:
    messages = [{"role": "user", "content": text}]
    return json.dumps({"model": "gpt-4o", "messages": messages, **members})


PLAIN = _chat("Say this is a test.", max_tokens=64)
# Where caps count tokens, the gateway writes max_tokens into this body: the dearest plain call.
_OPEN_ENDED = _chat("Say this is a test.")
_BURST = _chat("repeat 500", stream=True)
# Throughput is bounded by the busiest core, which may be the upstream's; this is the server's alone.
_PLAIN_CPU, _BURST_CPU = (
    (("cpu_us_per_request",), ("cpu_us_per_event",)) if TELLS_CPU_TIMES else ((), ())
)
_PLAIN_FIGURES = ("requests_per_s", "answer_p50_ms", "answer_p99_ms", *_PLAIN_CPU)
_BURST_FIGURES = ("events_per_s", *_BURST_CPU)
SCENARIOS = (
    Scenario("plain, 1 connection", 1, PLAIN, _PLAIN_FIGURES),
    Scenario("plain, 16 connections", 16, PLAIN, _PLAIN_FIGURES),
    Scenario(
        "stream of 20 tokens, 1 connection",
        1,
        _chat("repeat 20", stream=True),
        ("first_byte_p50_ms", "first_byte_p99_ms"),
    ),
    Scenario("stream of 500 tokens, 1 connection", 1, _BURST, _BURST_FIGURES),
    Scenario("stream of 500 tokens, 16 connections", 16, _BURST, _BURST_FIGURES),
)
_GATEWAYS = (GATEWAY, CAPPED, STRICT, STRICT_CAPPED)
CAPS_SCENARIOS = (
    Scenario("caps, 1 connection", 1, _OPEN_ENDED, _PLAIN_FIGURES, _GATEWAYS),
    Scenario("caps, 16 connections", 16, _OPEN_ENDED, _PLAIN_FIGURES, _GATEWAYS),
)
RESOURCES_SCENARIO = Scenario(
    "two resources, 16 connections", 16, PLAIN, _PLAIN_FIGURES, (GATEWAY, TWO_RESOURCES)
)
_ANSWERED = (GATEWAY, CACHED)
CACHE_SCENARIOS = (
    Scenario("cache, plain, 1 connection", 1, PLAIN, _PLAIN_FIGURES, _ANSWERED),
    Scenario(
        "cache, stream of 20 tokens, 1 connection",
        1,
        _chat("repeat 20", stream=True),
        ("answer_p50_ms", "answer_p99_ms"),
        _ANSWERED,
    ),
)
_FORMS = (GATEWAY, PORTKEY)
PORTKEY_SCENARIOS = (
    Scenario(
        "Portkey, 1 connection", 1, PLAIN, ("answer_p50_ms", "answer_p99_ms", *_PLAIN_CPU), _FORMS
    ),
    Scenario(
        "Portkey, 16 connections",
        16,
        PLAIN,
        ("requests_per_s", "answer_p99_ms", *_PLAIN_CPU),
        _FORMS,
    ),
)
_ALL = (
    *SCENARIOS,
    *CAPS_SCENARIOS,
    RESOURCES_SCENARIO,
    *CACHE_SCENARIOS,
    *PORTKEY_SCENARIOS,
)


class Results:
    """The rounds of each scenario, by its name."""

    def __init__(self) -> None:
        self.rounds: dict[str, list[Round]] = {scenario.name: [] for scenario in _ALL}

    def median(self, scenario: str, target: str, figure: str) -> float:
        return median(each[target][figure] for each in self.rounds[scenario])

    def ratio(self, scenario: str, figure: str, target: str, base: str) -> Ratio:
        """The target's figure by that of `base`, within each round since rounds differ."""
        found = [each[target][figure] / each[base][figure] for each in self.rounds[scenario]]
        return Ratio(median(found), min(found), max(found))

    def added(self, scenario: str, figure: str, target: str, base: str) -> float:
        """What the target adds to the figure of `base`, within each round."""
        return median(each[target][figure] - each[base][figure] for each in self.rounds[scenario])


def run(servers: Servers, rounds: int, seconds: float) -> Results:
    """All scenarios, in rounds; in a round the targets take turns, in an order that rotates."""
    results = Results()
    for target in servers.targets.values():  # the first call of all creates tables
        servers.load.run(Job(target.url, PLAIN, target.headers, requests=1))
    for number in range(rounds):
        for scenario in _ALL:
            first = number % len(scenario.targets)
            names = (*scenario.targets[first:], *scenario.targets[:first])
            found = {
                name: _measure(servers, scenario, servers.targets[name], seconds) for name in names
            }
            results.rounds[scenario.name].append(found)
    return results


def _measure(servers: Servers, scenario: Scenario, target: Target, seconds: float) -> Figures:
    warm_up_s = min(0.2, seconds / 4)
    job = Job(target.url, scenario.body, target.headers, scenario.connections, seconds, warm_up_s)
    if not TELLS_CPU_TIMES:
        return servers.load.run(job)
    watched = {"server_cpu": target.server, "upstream_cpu": servers.upstream}
    before = {name: server.cpu_s() for name, server in watched.items()}
    figures = servers.load.run(job)
    for name, server in watched.items():
        figures[name] = (server.cpu_s() - before[name]) / (warm_up_s + seconds)
    for unit in ("request", "event"):
        if rate := figures[f"{unit}s_per_s"]:
            figures[f"cpu_us_per_{unit}"] = figures["server_cpu"] / rate * 1e6
    return figures
