# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""GPUs: use, errors by what NVIDIA advises, clocks that something holds back, links and settings.

The figures are the collector's, read through nvidia-smi and the kernel's log. DCGM's gauge of Xids is not used: it
keeps the last code until the next one, and shows no repetition of one code.
"""

from __future__ import annotations

from collections.abc import Iterable

from ansible_collections.tfserving.fleet.plugins.module_utils.nvidia import xids

from .. import sources
from ..model import Alert, Severity, Signal, Threshold

_GPU = "(host, gpu)"
_NODE = 'job="node"'
# As nvidia-smi calls them: bits 0x8, 0x20, 0x40 and 0x80. Idle clocks and those that somebody has set are no faults.
HELD_BACK = ("hw_slowdown", "sw_thermal_slowdown", "hw_thermal_slowdown", "hw_power_brake_slowdown")
_UNCORRECTED = 'tfserving_gpu_ecc_errors_total{job="node",kind="uncorrectable"}'
_CRITICAL = (xids.RESET_GPU, xids.RESTART_HOST, xids.CHECK_MECHANICALS, xids.CONTACT_SUPPORT)
# "unknown" is a line of the driver's that has a form of its own.
_OTHER = (xids.RESTART_APP, xids.UPDATE_SOFTWARE, xids.DRAIN_P2P, xids.RECOVER_IMEX, "unknown")

SIGNALS = (
    Signal(
        "tfserving:gpu_utilisation_ratio",
        "Use of a GPU",
        "percentunit",
        "gpu",
        f"max by {_GPU} (tfserving_gpu_utilisation_ratio{{{_NODE}}})",
        "Share of the time in which a kernel ran; it says nothing of how much of the GPU that took.",
        ("host", "gpu"),
    ),
    Signal(
        "tfserving:gpu_memory_used_ratio",
        "Memory of a GPU",
        "percentunit",
        "gpu",
        f"max by {_GPU} (tfserving_gpu_memory_used_bytes{{{_NODE}}})"
        f" / (max by {_GPU} (tfserving_gpu_memory_total_bytes{{{_NODE}}}) > 0)",
        "Memory in use. TensorFlow takes its share at once, whatever the load.",
        ("host", "gpu"),
    ),
    Signal(
        "tfserving:gpu_clock_ratio",
        "Clock of a GPU",
        "percentunit",
        "gpu",
        f"max by {_GPU} (tfserving_gpu_sm_clock_hertz{{{_NODE}}})"
        f" / (max by {_GPU} (tfserving_gpu_sm_clock_max_hertz{{{_NODE}}}) > 0)",
        "Clock of the multiprocessors, of the highest that they can have; low without load.",
        ("host", "gpu"),
    ),
    Signal(
        "tfserving:gpu_power_ratio",
        "Power of a GPU",
        "percentunit",
        "gpu",
        f"max by {_GPU} (tfserving_gpu_power_watts{{{_NODE}}})"
        f" / (max by {_GPU} (tfserving_gpu_power_limit_watts{{{_NODE}}}) > 0)",
        "Power drawn, of what it may draw.",
        ("host", "gpu"),
    ),
    Signal(
        "tfserving:gpu_ecc_uncorrectable",
        "Uncorrectable errors of memory",
        "short",
        "gpu",
        f"max by {_GPU} ({_UNCORRECTED})",
        "Errors since the driver was loaded that ECC could not correct.",
        ("host", "gpu"),
    ),
    Signal(
        "tfserving:xids:increase15m",
        "Xids",
        "short",
        "gpu",
        "sum by (host, pci, code, action)"
        f" (increase(tfserving_xid_total{{{_NODE}}}[15m]) > 0"
        f" or (tfserving_xid_total{{{_NODE}}} unless tfserving_xid_total{{{_NODE}}} offset 15m)"
        # Of errors that the first run of the collector finds nobody knows when they were.
        f' and on (host) (tfserving_collector_success{{{_NODE},part="xids"}} offset 15m == 1))',
        "Errors of the driver within 15 minutes, by code and by what NVIDIA advises.",
        ("host", "pci", "code", "action"),
    ),
)


def _xids(name: str, actions: Iterable[str], severity: Severity, reason: str, remedy: str) -> Alert:
    return Alert(
        name,
        f'tfserving:xids:increase15m{{action=~"{"|".join(actions)}"}} > 0',
        "0s",
        severity,
        "gpu",
        Threshold("one", reason, sources.XID),
        "The GPU {{ $labels.pci }} of {{ $labels.host }} reported Xid {{ $labels.code }}; NVIDIA advises:"
        " {{ $labels.action }}.",
        remedy,
        ("tfserving:xids:increase15m",),
    )


def _is(name: str, value: int) -> str:
    return f"max by {_GPU} ({name}{{{_NODE}}}) == {value}"


ALERTS = (
    _xids(
        "GpuXidCritical",
        _CRITICAL,
        "page",
        "the GPU, or what it computes, cannot be trusted until that is done",
        "Drain the host (playbooks/drain.yml), then do what NVIDIA advises: docs/gpus.md has the steps by action.",
    ),
    _xids(
        "GpuXid",
        _OTHER,
        "ticket",
        "the server that met it is ended or damaged, the GPU is well; codes with nothing to do are left out",
        "Restart the instance on that GPU. If it returns, update the driver or look for what the model does.",
    ),
    Alert(
        "GpuEccUncorrectable",
        f"sum by (host, gpu) (increase({_UNCORRECTED}[15m])) > 0.5",
        "0s",
        "page",
        "gpu",
        Threshold("one", "memory that ECC could not correct: calls in flight may have failed", sources.MEMORY),
        "GPU {{ $labels.gpu }} of {{ $labels.host }} met memory errors that it could not correct.",
        "Drain the host and reset the GPU, so that the row is remapped; call the vendor if it returns.",
    ),
    Alert(
        "GpuRemapPending",
        _is("tfserving_gpu_remap_pending", 1),
        "5m",
        "ticket",
        "gpu",
        Threshold("one", "the bad row stays in use until the GPU is reset", sources.MEMORY),
        "GPU {{ $labels.gpu }} of {{ $labels.host }} waits for a reset to replace a bad row of memory.",
        "Drain the host when it suits, and reset the GPU or reboot.",
    ),
    Alert(
        "GpuRemapFailed",
        _is("tfserving_gpu_remap_failed", 1),
        "5m",
        "page",
        "gpu",
        Threshold("one", "there is no spare row left; NVIDIA replaces such a GPU", sources.MEMORY),
        "GPU {{ $labels.gpu }} of {{ $labels.host }} could not replace a bad row of memory.",
        "Drain the host and have the GPU replaced.",
    ),
    Alert(
        "GpuClocksHeldBack",
        f'max by (host, gpu, reason) (tfserving_gpu_clock_event{{{_NODE},reason=~"{"|".join(HELD_BACK)}"}}) == 1'
        f" and on {_GPU} tfserving:gpu_utilisation_ratio > 0.5",
        "2m",
        "ticket",
        "gpu",
        Threshold(
            "heat, slowdown or power brake for 2 min while over half busy",
            "a reading a minute, so two in a row; without load clocks fall by design",
            "NVIDIA NVML, clocks event reasons 0x8, 0x20, 0x40, 0x80",
        ),
        "{{ $labels.reason }} holds the clocks of GPU {{ $labels.gpu }} of {{ $labels.host }} back under load.",
        "Look at its temperature and power: fans, air flow, and the power supply where it is the power brake.",
        ("tfserving:gpu_utilisation_ratio", "tfserving:gpu_clock_ratio"),
    ),
    Alert(
        "GpuMissing",
        f"max by (host) (tfserving_gpus{{{_NODE}}}) < max by (host) (tfserving_gpus_planned{{{_NODE}}})",
        "2m",
        "page",
        "host",
        Threshold("fewer than planned, 2 min", "an instance without its GPU fails or computes on CPUs", sources.PLAN),
        "{{ $labels.host }} shows {{ $value }} GPUs, fewer than its plan gives to instances.",
        "Look for Xid 79 and PCIe errors in the kernel's log; drain the host and reboot it.",
    ),
    Alert(
        "GpuLinkNarrow",
        f"max by {_GPU} (tfserving_gpu_pcie_width{{{_NODE}}})"
        f" < max by {_GPU} (tfserving_gpu_pcie_width_max{{{_NODE}}})",
        "15m",
        "ticket",
        "gpu",
        Threshold(
            "fewer lanes than possible, 15 min",
            "speed falls without load by design, width does not; half the lanes take twice the time for inputs",
            "PCI Express specification, link width",
        ),
        "The PCIe link of GPU {{ $labels.gpu }} of {{ $labels.host }} has {{ $value }} lanes, fewer than it could.",
        "Drain the host, reseat the card or its riser, and update the firmware; some slots have fewer lanes.",
    ),
    Alert(
        "GpuPersistenceOff",
        _is("tfserving_gpu_persistence", 0),
        "15m",
        "ticket",
        "gpu",
        Threshold(
            "off for 15 min",
            "the driver unloads with its last client, and the next one waits for seconds",
            "NVIDIA, driver persistence",
        ),
        "The driver does not stay loaded for GPU {{ $labels.gpu }} of {{ $labels.host }}.",
        "Start nvidia-persistenced (role nvidia_driver).",
    ),
    Alert(
        "GpuForeignProcess",
        f"max by {_GPU} (tfserving_gpu_foreign_processes{{{_NODE}}}) > 0",
        "10m",
        "ticket",
        "gpu",
        Threshold(
            "one for 10 min",
            "it takes memory and time that the plan has given away",
            sources.PLAN,
        ),
        "{{ $value }} processes that belong to no instance use GPU {{ $labels.gpu }} of {{ $labels.host }}.",
        "See who they are (nvidia-smi) and end them, or give the GPU away in the plan.",
    ),
    Alert(
        "DcgmSeriesVanished",
        "count by (host) (DCGM_FI_DEV_GPU_UTIL offset 30m) unless on (host) count by (host) (DCGM_FI_DEV_GPU_UTIL)"
        " or count by (host) (DCGM_FI_PROF_GR_ENGINE_ACTIVE offset 30m)"
        " unless on (host) count by (host) (DCGM_FI_PROF_GR_ENGINE_ACTIVE)",
        "5m",
        "ticket",
        "host",
        Threshold(
            "series of half an hour ago are gone for 5 min",
            "the exporter answers on without them, and rules on them fall silent",
            "NVIDIA/dcgm-exporter#22, #707",
        ),
        "DCGM's exporter on {{ $labels.host }} has stopped showing figures that it showed half an hour ago.",
        "Restart nvidia-dcgm and dcgm-exporter; end a profile capture that holds the counters (dcgmi profile).",
    ),
)
