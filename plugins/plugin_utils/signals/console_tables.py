# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The tables and large figures of the console pages."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .model import Signal
from .table.gpus import HELD_BACK
from .tables import EVALUATED, EVALUATION_AGE, Column, Table, alerts

INSTANCE = ("host", "serving_instance")
GPU = ("host", "gpu")
ON_HOST = "{host=$host}"
HERE = "{host=$host, serving_instance=$serving_instance}"
SERVICE = "{serving_instance=$serving_instance}"
# As numbers, the worst the highest; the template "verdict" knows them. An empty answer stays empty: no data.
VERDICT = (
    '2 * tfserving:slo_verdict{{verdict="violated"{0}}} or 1 * tfserving:slo_verdict{{verdict="undecided"{0}}}'
    ' or 0 * tfserving:slo_verdict{{verdict="met"{0}}}'
)
FIRING = 'ALERTS{{alertstate="firing"{0}}}'


@dataclass(frozen=True)
class Tile:
    """A large figure; with ``upper`` it lies between two."""

    title: str
    kind: str
    expr: str
    small: str
    upper: str = ""


def _within(braces: str) -> str:
    """Return the matchers in braces as more matchers of a list."""
    return ", " + braces.strip("{}") if braces else ""


def verdict(braces: str = "") -> str:
    """Return the verdict of each instance about its objective, as a number."""
    return VERDICT.format(_within(braces))


def evaluated_count(expr: str) -> str:
    """Return a count that is 0 only where the rules are evaluated, and nothing where nobody knows."""
    return f"count({expr}) or (vector(0) and on () {EVALUATED})"


class Titles:
    """The titles and units of signals, as the table has them."""

    def __init__(self, signals: tuple[Signal, ...]) -> None:
        self.known = {signal.name: signal for signal in signals}

    def column(self, name: str, braces: str = "") -> Column:
        """Return the column of a signal."""
        signal = self.known[name]
        return Column(signal.title, signal.unit, f"{name}{braces}")

    def tile(self, name: str, braces: str, of: str) -> Tile:
        """Return the large figure of a signal."""
        signal = self.known[name]
        return Tile(signal.title, signal.unit, f"{of}({name}{braces})", signal.help)


def p99() -> tuple[Column, Column]:
    """Return the two columns of the bracket of p99, in milliseconds."""
    low, high = p99_exprs()
    return Column("p99", "", low, "max", with_next=True), Column("p99", "between", high, "max")


def p99_exprs(braces: str = "") -> tuple[str, str]:
    """Return the edges that p99 lies between, in milliseconds."""
    return f"1000 * tfserving:p99_low_seconds{braces}", f"1000 * tfserving:p99_high_seconds{braces}"


def services(titles: Titles) -> Table:
    """Return the table of instances by name, over all hosts."""
    rows = 'up{job="tfserving"}'
    return Table(
        "Instances, over all hosts",
        ("serving_instance",),
        rows,
        (
            Column("", "", rows, "sum", with_next=True),
            Column("Hosts up", "all", rows, "count"),
            titles.column("tfserving:calls:rate5m"),
            Column("Errors, worst model", "percentunit", "tfserving:error_ratio:rate5m", "max"),
            *p99(),
            Column("Objective of p99", "verdict", verdict(), "max"),
            titles.column("tfserving:in_flight"),
            alerts(("serving_instance",), rows),
        ),
        "no data: Prometheus scrapes no instance. Look at its targets.",
        "p99 lies in a bucket of the server's histogram; nobody can say where in it. So an objective within the bucket "
        "is undecided.",
    )


def hosts() -> Table:
    """Return the table of hosts."""
    rows = 'up{job="node"} or up{job="tfserving"}'
    idle = 'avg by (host) (rate(node_cpu_seconds_total{job="node", mode="idle"}[5m]))'
    return Table(
        "Hosts",
        ("host",),
        rows,
        (
            Column("Node exporter", "up", 'up{job="node"}', "min"),
            Column("", "", 'up{job="tfserving"}', "sum", with_next=True),
            Column("Instances up", "all", 'up{job="tfserving"}', "count"),
            Column("CPUs busy", "percentunit", f"1 - {idle}", "max"),
            Column("Memory available", "percentunit", "node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes"),
            Column("", "", "tfserving_gpus", "max", with_next=True),
            Column("GPUs, of planned", "all", "tfserving_gpus_planned", "max"),
            Column("As planned", "wanted", "tfserving_instance_matches_plan", "min"),
            alerts(("host",), rows),
        ),
        "no data: Prometheus scrapes no host. Look at its targets.",
    )


def instances(titles: Titles, title: str = "Instances", braces: str = "") -> Table:
    """Return the table of instances: of the fleet, of a host or of a service."""
    rows = f'up{{job="tfserving"{_within(braces)}}} or tfserving_instance_running{braces}'
    return Table(
        title,
        INSTANCE,
        rows,
        (
            Column("Answers", "up", f'up{{job="tfserving"{_within(braces)}}}', "min"),
            Column("Gate open", "bool", f"tfserving_gate_open{braces}", "min"),
            titles.column("tfserving:calls:rate5m", braces),
            titles.column("tfserving:in_flight", braces),
            titles.column("tfserving:queue_length", braces),
            Column("Resident memory", "bytes", f"tfserving_instance_resident_bytes{braces}"),
            Column("As planned", "wanted", f"tfserving_instance_matches_plan{braces}", "min"),
            alerts(INSTANCE, rows),
        ),
        "no data: no instance of this name is scraped, and no collector tells of one.",
    )


def gpus(braces: str = "", title: str = "GPUs") -> Table:
    """Return the table of what GPUs do."""
    rows = f"tfserving_gpu_info{braces}"
    return Table(
        title,
        GPU,
        rows,
        (
            Column("Used", "percentunit", f"tfserving_gpu_utilisation_ratio{braces}", "max"),
            Column("Memory used", "bytes", f"tfserving_gpu_memory_used_bytes{braces}", "max"),
            Column("Memory", "bytes", f"tfserving_gpu_memory_total_bytes{braces}", "max"),
            Column("Temperature", "celsius", f"tfserving_gpu_temperature_celsius{braces}", "max"),
            Column("Power", "watt", f"tfserving_gpu_power_watts{braces}", "max"),
            Column("Power limit", "watt", f"tfserving_gpu_power_limit_watts{braces}", "max"),
            Column("SM clock", "hertz", f"tfserving_gpu_sm_clock_hertz{braces}", "max"),
            Column("Instances", "count", f"tfserving_gpu_instance_info{braces}", "count"),
            alerts(GPU, rows),
        ),
        "no data: no collector reports a GPU.",
    )


def gpu_health(braces: str = "", title: str = "Health of GPUs") -> Table:
    """Return the table of what GPUs suffer from."""
    held = f'tfserving_gpu_clock_event{{reason=~"{"|".join(HELD_BACK)}"{_within(braces)}}}'
    errors = f'tfserving_gpu_ecc_errors_total{{kind="uncorrectable"{_within(braces)}}}'
    return Table(
        title,
        GPU,
        f"tfserving_gpu_info{braces}",
        (
            Column("Reasons that hold clocks back", "faults", held),
            Column("Uncorrectable ECC errors", "faults", errors),
            Column("Remap pending", "unwanted", f"tfserving_gpu_remap_pending{braces}", "max"),
            Column("Remap failed", "unwanted", f"tfserving_gpu_remap_failed{braces}", "max"),
            Column("", "", f"tfserving_gpu_pcie_width{braces}", "max", with_next=True),
            Column("PCIe lanes", "all", f"tfserving_gpu_pcie_width_max{braces}", "max"),
            Column("Persistence", "wanted", f"tfserving_gpu_persistence{braces}", "max"),
            Column("Foreign processes", "faults", f"tfserving_gpu_foreign_processes{braces}"),
        ),
        "no data: no collector reports a GPU.",
        "What a GPU does not report is no data: the card has no such sensor, or the driver does not say.",
    )


def gpu_reasons(braces: str) -> Table:
    """Return the table of reasons that hold a GPU's clocks back."""
    rows = f"tfserving_gpu_clock_event{braces}"
    return Table(
        "Clocks",
        ("reason",),
        rows,
        (Column("Holds the clocks back", "bool", rows, "max"),),
        "no data: the collector reports no reasons of this GPU.",
        "Idle and application clocks are no faults; a power cap is one only where it was not meant.",
    )


def versions(braces: str = "", keys: tuple[str, ...] = INSTANCE) -> Table:
    """Return the table of versions of models and their states, by the server's own word."""
    return Table(
        "Versions of models",
        (*keys, "model", "version", "state"),
        f"tfserving_model_state{braces} == 1",
        (
            Column("Planned", "bool", planned(braces), "max"),
            Column("Files", "bytes", sized(braces), "max"),
        ),
        "no data: no collector has reported the versions.",
    )


def under_rollout() -> Table:
    """Return the table of versions of those models that are under a roll-out: a fleet has thousands of others."""
    every = versions()
    return replace(
        every,
        title="Versions of models under roll-out",
        rows=f"{every.rows} and on (model) tfserving_rollout_info",
        empty="No host reports a version of a model under roll-out.",
    )


def planned(braces: str) -> str:
    """Return whether the plan serves each version that has a state."""
    states = f"(tfserving_model_state{braces} == 1)"
    wanted = f"on (host, serving_instance, model, version) tfserving_model_wanted{braces}"
    return f"({states} and {wanted}) or ({states} unless {wanted}) * 0"


def sized(braces: str) -> str:
    """Return the size of each version that has a state."""
    sizes = "max by (host, model, version) (tfserving_model_size_bytes)"
    return f"(tfserving_model_state{braces} == 1) * on (host, model, version) group_left {sizes}"


def firing(braces: str) -> Table:
    """Return the table of what fires."""
    rows = FIRING.format(_within(braces))
    return Table(
        "Firing alerts",
        ("severity", "alertname"),
        rows,
        (Column("Places", "count", rows, "count"),),
        "No alert fires here. Whether the rules are evaluated, the page of alerts says.",
        more='<p class="note"><a href="alerts.html">Alerts, with what to do</a></p>',
    )


def fleet_tiles(titles: Titles) -> list[Tile]:
    """Return the large figures of the fleet."""
    return [
        *firing_tiles(),
        Tile("Instances up", "all", 'sum(up{job="tfserving"})', "of those in the plans", 'count(up{job="tfserving"})'),
        Tile("Hosts up", "all", 'sum(up{job="node"})', "node exporters that answer", 'count(up{job="node"})'),
        titles.tile("tfserving:calls:rate5m", "", "sum"),
        Tile("Worst objective", "verdict", f"max({verdict()})", "p99 of any instance that has one"),
    ]


def firing_tiles() -> list[Tile]:
    """Return how many alerts fire, by how much they matter."""
    page, ticket = (FIRING.format(f', severity="{each}"') for each in ("page", "ticket"))
    return [
        Tile("Alerts that page", "faults", evaluated_count(page), "firing now"),
        Tile("Alerts as tickets", "faults", evaluated_count(ticket), "firing now"),
    ]


def service_tiles(titles: Titles, braces: str, promise: str) -> list[Tile]:
    """Return the large figures of an instance, or of all of its name: ``promise`` selects what is over all hosts."""
    low, high = p99_exprs(promise)
    up = f'up{{job="tfserving"{_within(braces)}}}'
    return [
        Tile("Answers", "all", f"sum({up})", "instances that answer", f"count({up})"),
        titles.tile("tfserving:calls:rate5m", braces, "sum"),
        Tile("Errors, worst model", "percentunit", f"max(tfserving:error_ratio:rate5m{promise})", "over all hosts"),
        Tile("p99", "between", low, "over all hosts", high),
        Tile("Objective of p99", "verdict", f"max({verdict(promise)})", "over all hosts"),
        titles.tile("tfserving:in_flight", braces, "sum"),
    ]


def host_tiles(titles: Titles) -> list[Tile]:
    """Return the large figures of a host."""
    idle = 'avg(rate(node_cpu_seconds_total{host=$host, mode="idle"}[5m]))'
    memory = "node_memory_MemAvailable_bytes{host=$host} / node_memory_MemTotal_bytes{host=$host}"
    return [
        Tile("Alerts", "faults", evaluated_count(FIRING.format(", host=$host")), "firing now"),
        Tile("Node exporter", "up", 'up{job="node", host=$host}', "answers Prometheus"),
        Tile("CPUs busy", "percentunit", f"1 - {idle}", "over 5 minutes"),
        Tile("Memory available", "percentunit", memory, "of all memory"),
        titles.tile("tfserving:collector_age_seconds", ON_HOST, "max"),
    ]


def alert_tiles() -> list[Tile]:
    """Return the large figures of the page of alerts."""
    return [
        *firing_tiles(),
        Tile("Pending", "count", evaluated_count('ALERTS{alertstate="pending"}'), "true, not yet for long enough"),
        Tile("Rules evaluated", "s", EVALUATION_AGE, "ago"),
        Tile(
            "Targets that do not answer", "faults", "count(up == 0) or (vector(0) and on () group(up))", "of all jobs"
        ),
    ]
