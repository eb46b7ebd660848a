# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Hosts: whether they are there, and what their kernel says of network, clock and disks."""

from __future__ import annotations

from .. import sources
from ..model import Alert, Signal, Threshold
from ..thresholds import CLOCK_OFFSET_MS, CONNTRACK_USED, DISK_FREE, DISK_FREE_PAGE, RETRANSMITTED

_NODE = 'job="node"'
# Where data lies; the others are made by the kernel, or mirror one of these.
_DISKS = f'{_NODE},fstype=~"ext[234]|xfs|btrfs|zfs",mountpoint!~"/(boot|run).*"'

SIGNALS = (
    Signal(
        "tfserving:targets_up",
        "Targets that answer",
        "short",
        "host",
        "sum by (host) (up)",
        "Programs of a host that answered the last scrape.",
        ("host",),
    ),
    Signal(
        "tfserving:conntrack_ratio",
        "Tracked connections",
        "percentunit",
        "host",
        f"node_nf_conntrack_entries{{{_NODE}}} / (node_nf_conntrack_entries_limit{{{_NODE}}} > 0)",
        "Connections that the kernel tracks, of those that it can.",
        ("host",),
    ),
    Signal(
        "tfserving:retransmit_ratio",
        "Segments sent again",
        "percentunit",
        "host",
        f"rate(node_netstat_Tcp_RetransSegs{{{_NODE}}}[5m]) / (rate(node_netstat_Tcp_OutSegs{{{_NODE}}}[5m]) > 0)",
        "Share of TCP's segments that were sent again.",
        ("host",),
    ),
    Signal(
        "tfserving:disk_free_ratio",
        "Free disk space",
        "percentunit",
        "host",
        f"min by (host, mountpoint) (node_filesystem_avail_bytes{{{_DISKS}}}"
        f" / (node_filesystem_size_bytes{{{_DISKS}}} > 0))",
        "Space on a file system that programs may still use.",
        ("host", "mountpoint"),
    ),
    Signal(
        "tfserving:clock_offset_seconds",
        "Offset of the clock",
        "s",
        "host",
        f"abs(node_timex_offset_seconds{{{_NODE}}})",
        "How far the clock is from its time server.",
        ("host",),
    ),
)

ALERTS = (
    Alert(
        "HostGone",
        "tfserving:targets_up == 0",
        "15s",
        "page",
        "host",
        Threshold(
            "no program answers, two scrapes",
            "all of a host's programs at once is the host or its network; it mutes the alerts of its instances",
            sources.MAIL,
        ),
        "Nothing on {{ $labels.host }} answers.",
        "Look at its console: power, network, kernel. Gateways have left it out by themselves.",
        ("tfserving:targets_up",),
    ),
    Alert(
        "NodeExporterGone",
        f"up{{{_NODE}}} == 0 and on (host) tfserving:targets_up > 0",
        "2m",
        "ticket",
        "host",
        Threshold(
            "2 min",
            "the collector's figures come through it, so alerts on GPUs, memory, CPUs and models fall silent",
            sources.ABSENCE,
        ),
        "The node exporter of {{ $labels.host }} does not answer, though other programs of the host do.",
        "Look at prometheus-node-exporter.service and at the firewall; playbooks/monitoring.yml puts both right.",
        ("tfserving:targets_up",),
    ),
    Alert(
        "ListenQueueOverflows",
        f"increase(node_netstat_TcpExt_ListenOverflows{{{_NODE}}}[5m]) > 0.5",
        "0s",
        "ticket",
        "host",
        Threshold("one within 5 min", "each is a connection that the kernel dropped", "kernel, SNMP counters"),
        '{{ $labels.host }} dropped {{ printf "%.0f" $value }} connections that its programs did not accept in time.',
        "Raise net.core.somaxconn (role kernel_tuning), and let callers keep their connections.",
    ),
    Alert(
        "ConntrackNearLimit",
        f"tfserving:conntrack_ratio > {CONNTRACK_USED.value:g}",
        "5m",
        "ticket",
        "host",
        CONNTRACK_USED.threshold(f"{CONNTRACK_USED.percent} for 5 min"),
        "{{ $labels.host }} tracks {{ $value | humanizePercentage }} of the connections that it can.",
        "Raise net.netfilter.nf_conntrack_max, or leave the ports of the servers untracked.",
        ("tfserving:conntrack_ratio",),
    ),
    Alert(
        "PacketsLost",
        f"tfserving:retransmit_ratio > {RETRANSMITTED.value:g}",
        "10m",
        "ticket",
        "host",
        RETRANSMITTED.threshold(f"{RETRANSMITTED.percent} of the segments for 10 min"),
        "{{ $labels.host }} sends {{ $value | humanizePercentage }} of its segments again.",
        "Compare with its peers: one host alone is a cable, a port or a driver.",
        ("tfserving:retransmit_ratio",),
    ),
    Alert(
        "ClockOff",
        f"tfserving:clock_offset_seconds > {CLOCK_OFFSET_MS.value / 1e3:g}",
        "10m",
        "ticket",
        "host",
        CLOCK_OFFSET_MS.threshold(f"{CLOCK_OFFSET_MS.value:g} ms for 10 min"),
        "The clock of {{ $labels.host }} is {{ $value | humanizeDuration }} off.",
        "Look at chronyc tracking, or timedatectl timesync-status.",
        ("tfserving:clock_offset_seconds",),
    ),
    Alert(
        "ClockUnsynchronised",
        f"node_timex_sync_status{{{_NODE}}} == 0",
        "1h",
        "ticket",
        "host",
        Threshold("1 h", "a clock without a server drifts by a second a day, unseen", "adjtimex(2), STA_UNSYNC"),
        "The clock of {{ $labels.host }} has not been set by a time server for an hour.",
        "Start chrony or systemd-timesyncd, and let it reach its servers.",
    ),
    Alert(
        "DiskNearlyFull",
        f"tfserving:disk_free_ratio < {DISK_FREE.value:g}",
        "15m",
        "ticket",
        "host",
        DISK_FREE.threshold(f"{DISK_FREE.percent} free for 15 min"),
        "{{ $labels.mountpoint }} of {{ $labels.host }} has {{ $value | humanizePercentage }} left.",
        "Keep fewer versions (keep of a model), and prune releases and logs.",
        ("tfserving:disk_free_ratio",),
    ),
    Alert(
        "DiskFull",
        f"tfserving:disk_free_ratio < {DISK_FREE_PAGE.value:g}",
        "1m",
        "page",
        "host",
        DISK_FREE_PAGE.threshold(f"{DISK_FREE_PAGE.percent} free for 1 min"),
        "{{ $labels.mountpoint }} of {{ $labels.host }} is full but for {{ $value | humanizePercentage }}.",
        "Remove old versions and logs at once; then find what filled it.",
        ("tfserving:disk_free_ratio",),
    ),
)
