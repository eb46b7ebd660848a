# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The metrics of the collector: the only names that it writes, and that a signal may ask it for.

Labels: ``serving_instance`` is an instance of the plan, ``gpu`` the index that nvidia-smi gives, ``resource`` one of
cpu, memory and io. Prometheus adds ``host`` and ``instance``, both the host's name in the inventory.
"""

from __future__ import annotations

from typing import NamedTuple


class Metric(NamedTuple):
    """A metric of the text file: its kind in the exposition format, what it tells, and the names of its labels."""

    kind: str
    help: str
    labels: tuple[str, ...] = ()


INSTANCE = ("serving_instance",)
MODEL = ("serving_instance", "model", "version")
GPU = ("gpu",)

METRICS: dict[str, Metric] = {
    # The collector itself.
    "tfserving_collector_success": Metric(
        "gauge", "Whether a part of the collector could read all it wanted", ("part",)
    ),
    "tfserving_collector_duration_seconds": Metric("gauge", "Time that the collector took"),
    # The plan in force.
    "tfserving_plan_info": Metric("gauge", "1, with the plan in force", ("digest", "server_version")),
    "tfserving_plan_written_timestamp_seconds": Metric("gauge", "When the plan in force was recorded"),
    # Instances: process, memory, allocator, CPUs. Those of a process are missing where none runs.
    "tfserving_instance_running": Metric("gauge", "Whether the unit of an instance is active", INSTANCE),
    "tfserving_instance_restarts_total": Metric("counter", "Restarts by systemd of its own accord", INSTANCE),
    "tfserving_instance_start_time_seconds": Metric("gauge", "When its process started", INSTANCE),
    "tfserving_instance_matches_plan": Metric("gauge", "Whether its process runs with the plan in force", INSTANCE),
    "tfserving_instance_resident_bytes": Metric("gauge", "Resident memory of its process", INSTANCE),
    "tfserving_instance_swap_bytes": Metric("gauge", "Memory of its process that is swapped out", INSTANCE),
    "tfserving_instance_threads": Metric("gauge", "Threads of its process", INSTANCE),
    "tfserving_instance_open_files": Metric("gauge", "Open files of its process", INSTANCE),
    "tfserving_instance_open_files_limit": Metric("gauge", "Files that its process may open", INSTANCE),
    "tfserving_instance_loads_total": Metric("counter", "Changes of the versions that it serves", INSTANCE),
    "tfserving_instance_load_growth_bytes": Metric("gauge", "Growth of resident memory over the last load", INSTANCE),
    "tfserving_instance_load_growth_steps": Metric(
        "gauge", "Loads in a row that left over 5 % of the models' size", INSTANCE
    ),
    "tfserving_instance_allocator_info": Metric(
        "gauge", "1, with the mapped allocator and the planned one", (*INSTANCE, "mapped", "planned")
    ),
    "tfserving_instance_allocator_matches_plan": Metric(
        "gauge", "Whether the mapped allocator is the planned one", INSTANCE
    ),
    "tfserving_instance_cpus": Metric("gauge", "CPUs that its process may use", INSTANCE),
    "tfserving_instance_cpus_match_plan": Metric(
        "gauge", "Whether cpuset and affinity of all its threads are as planned", INSTANCE
    ),
    "tfserving_instance_periods_total": Metric("counter", "Periods of CPU quotas in which it ran", INSTANCE),
    "tfserving_instance_throttled_periods_total": Metric(
        "counter", "Periods in which a CPU quota stopped it", INSTANCE
    ),
    "tfserving_instance_throttled_seconds_total": Metric("counter", "Time in which a CPU quota stopped it", INSTANCE),
    "tfserving_instance_run_seconds_total": Metric(
        "counter", "Time on a CPU, of its main thread and all others", INSTANCE
    ),
    "tfserving_instance_wait_seconds_total": Metric(
        "counter", "Time runnable without a CPU, of all its threads", INSTANCE
    ),
    "tfserving_instance_memory_limit_bytes": Metric("gauge", "Memory above which the kernel ends it", INSTANCE),
    "tfserving_instance_memory_events_total": Metric("counter", "Events of its memory limits", (*INSTANCE, "event")),
    "tfserving_slice_pressure_seconds_total": Metric(
        "counter", "Time in which a task of the serving slice waited", ("resource",)
    ),
    # Models, by the server's own word.
    "tfserving_model_state": Metric("gauge", "1 for the state of a version", (*MODEL, "state")),
    "tfserving_model_wanted": Metric("gauge", "1 for a version that the plan serves", MODEL),
    "tfserving_model_size_bytes": Metric("gauge", "Size of a version on disk", ("model", "version")),
    # Traffic.
    "tfserving_gate_open": Metric("gauge", "Whether the gate of an instance is open", INSTANCE),
    "tfserving_gate_info": Metric("gauge", "1, with who closed a gate that is not open", (*INSTANCE, "kind")),
    "tfserving_rollout_info": Metric("gauge", "1, with a roll-out under way", ("model", "state", "old", "new")),
    "tfserving_rollout_share_ratio": Metric("gauge", "Share of the calls that the new version gets", ("model",)),
    # What expires.
    "tfserving_certificate_expiry_timestamp_seconds": Metric("gauge", "When a certificate expires", ("path",)),
    "tfserving_apt_key_expiry_timestamp_seconds": Metric(
        "gauge", "When a key of a package repository expires", ("path", "fingerprint")
    ),
    # GPUs, by nvidia-smi.
    "tfserving_gpus": Metric("gauge", "GPUs that the driver reports"),
    "tfserving_gpus_planned": Metric("gauge", "GPUs that the plan gives to instances"),
    "tfserving_gpu_info": Metric("gauge", "1, with what a GPU is", (*GPU, "uuid", "name", "pci", "driver")),
    "tfserving_gpu_instance_info": Metric("gauge", "1 for a GPU of an instance", (*GPU, *INSTANCE)),
    "tfserving_gpu_utilisation_ratio": Metric("gauge", "Share of time in which a kernel ran", GPU),
    "tfserving_gpu_memory_used_bytes": Metric("gauge", "Memory in use", GPU),
    "tfserving_gpu_memory_total_bytes": Metric("gauge", "Memory", GPU),
    "tfserving_gpu_temperature_celsius": Metric("gauge", "Temperature", GPU),
    "tfserving_gpu_power_watts": Metric("gauge", "Power drawn", GPU),
    "tfserving_gpu_power_limit_watts": Metric("gauge", "Power that it may draw", GPU),
    "tfserving_gpu_sm_clock_hertz": Metric("gauge", "Clock of the multiprocessors", GPU),
    "tfserving_gpu_sm_clock_max_hertz": Metric("gauge", "Highest clock of the multiprocessors", GPU),
    "tfserving_gpu_clock_event": Metric("gauge", "Whether a reason holds its clocks back", (*GPU, "reason")),
    "tfserving_gpu_ecc_errors_total": Metric("counter", "ECC errors since the driver was loaded", (*GPU, "kind")),
    "tfserving_gpu_remap_pending": Metric("gauge", "Whether rows wait for a reset to be remapped", GPU),
    "tfserving_gpu_remap_failed": Metric("gauge", "Whether remapping a row failed", GPU),
    "tfserving_gpu_pcie_width": Metric("gauge", "Lanes of its PCIe link", GPU),
    "tfserving_gpu_pcie_width_max": Metric("gauge", "Lanes that its PCIe link can have", GPU),
    "tfserving_gpu_persistence": Metric("gauge", "Whether the driver stays initialised without clients", GPU),
    "tfserving_gpu_foreign_processes": Metric("gauge", "Processes on it that belong to no instance", GPU),
    "tfserving_xid_total": Metric("counter", "Xid lines of the kernel's log since boot", ("pci", "code", "action")),
    # The cache of answers, on gateways that have one.
    "tfserving_cache_hits_total": Metric("counter", "Calls that the cache has answered"),
    "tfserving_cache_misses_total": Metric("counter", "Calls for which it has asked a server"),
    "tfserving_cache_coalesced_total": Metric("counter", "Calls that have waited for the answer to an equal one"),
    "tfserving_cache_not_kept_total": Metric("counter", "Answers that it did not keep: no success, or too large"),
    "tfserving_cache_evicted_total": Metric("counter", "Answers that made room for others before their time"),
    "tfserving_cache_errors_total": Metric("counter", "Calls that it could not carry out, which servers then answered"),
    "tfserving_cache_passed_total": Metric("counter", "Calls for which it did not ask its Redis, as that fails"),
    "tfserving_cache_spilled_total": Metric("counter", "Requests that waited in a file"),
    "tfserving_cache_age_seconds_total": Metric("counter", "Age of all the answers that it has given"),
    "tfserving_cache_store_up": Metric("gauge", "Whether its Redis answers"),
    "tfserving_cache_answers": Metric("gauge", "Answers that it holds"),
    "tfserving_cache_used_bytes": Metric("gauge", "Memory that they take"),
    "tfserving_cache_free_bytes": Metric("gauge", "Memory that is left for others"),
}
