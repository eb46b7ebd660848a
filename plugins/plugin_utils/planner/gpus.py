# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Assignment of GPUs and MIG slices to instances."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.topology import schema

from ..phrases import counted, joined
from ..wishes.read import InstanceWish
from . import cpu_mask
from .machine import Machine
from .reasons import Sheet

# Names from nvidia-smi: "1g.10gb", "1g.10gb+me", "1c.3g.40gb", "1g.24gb-me" (Blackwell, without media engines).
PROFILE = re.compile(r"(\d+c\.)?\d+g\.\d+gb([+-][a-z.]+)?", re.IGNORECASE)
# A sentence names no more than this many of the GPUs left out.
MOST_NAMED = 4
MAKE_SLICES = (
    "make slices with nvidia_driver_mig or 'nvidia-smi mig -cgi PROFILE -C', or switch MIG off with 'nvidia-smi -mig 0'"
)


@dataclass(frozen=True)
class Gpu:
    """A device that a server can be given: a whole GPU or one MIG slice."""

    identity: int | str
    """The UUID, or the index if there is none."""
    label: str
    index: int
    node: int | None
    """None on a host of several nodes whose firmware does not report it."""
    memory_mb: int
    """0 if the driver does not report it."""
    profile: str = ""
    """The MIG profile of a slice, such as "1g.10gb"; empty for a whole GPU."""
    parent: str = ""
    """The UUID of the GPU that a slice is part of."""

    @property
    def is_slice(self) -> bool:
        """Whether it is a MIG slice."""
        return bool(self.profile)


def read(topology: schema.Topology, machine: Machine) -> list[Gpu]:
    """Return the devices of a host by index; a GPU in MIG mode counts as its slices."""
    devices = []
    for index, gpu in _numbered(topology):
        node, mig = _node(gpu, machine), gpu.get("mig")
        if not mig or mig.get("mode") != "enabled":
            devices.append(Gpu(gpu.get("uuid") or index, f"GPU {index}", index, node, gpu.get("memory_mb") or 0))
            continue
        for part in mig.get("instances") or ():
            label, profile = f"MIG slice {part['index']} of GPU {index}", part.get("profile") or "slice"
            devices.append(
                Gpu(part["uuid"], label, index, node, _slice_memory(profile), profile, gpu.get("uuid") or "")
            )
    return devices


def uncut(topology: schema.Topology) -> dict[int, str]:
    """Return the UUIDs, by index, of GPUs in MIG mode without a slice; nothing can run on those."""
    return {
        index: gpu.get("uuid") or ""
        for index, gpu in _numbered(topology)
        if (mig := gpu.get("mig")) and mig.get("mode") == "enabled" and not mig.get("instances")
    }


def left_out(topology: schema.Topology) -> list[str]:
    """Return the GPUs that no server can use, each with the reason in brackets."""
    unusable = [gpu for gpu in topology.get("gpus") or () if not _usable(gpu)]
    found = [
        *(f"{gpu['pci_address']} ({gpu.get('why') or 'nvidia-smi leaves it out'})" for gpu in unusable),
        *(f"{gpu['pci_address']} ({gpu['why']})" for gpu in topology.get("gpus_left_out") or ()),
    ]
    return found if len(found) <= MOST_NAMED else [*found[:MOST_NAMED], f"{len(found) - MOST_NAMED} more"]


def _numbered(topology: schema.Topology) -> list[tuple[int, schema.Gpu]]:
    """Return the usable GPUs with their indexes, in order."""
    found = [(index, gpu) for gpu in topology.get("gpus") or () if _usable(gpu) and (index := gpu["index"]) is not None]
    return sorted(found, key=lambda pair: pair[0])


def _usable(gpu: schema.Gpu) -> bool:
    """Return whether CUDA could use a GPU: the driver gives it an index, and no reason against it is known."""
    return gpu["index"] is not None and not gpu.get("why")


def _slice_memory(profile: str) -> int:
    """Return the MB of a MIG profile such as "2g.20gb"."""
    size = re.search(r"\.(\d+)gb", profile)
    return int(size[1]) * 1024 if size else 0


def _node(gpu: schema.Gpu, machine: Machine) -> int | None:
    node = gpu.get("node")
    if node is not None and node in machine.cores:
        return node
    if len(machine.cores) == 1:
        return next(iter(machine.cores))
    # No node, or one without CPUs: go by the CPUs that the bus reports as local.
    local = cpu_mask.of(gpu.get("local_cpus") or ())
    near = {
        node: cpu_mask.count(local & cpu_mask.union(core.mask for core in cores))
        for node, cores in machine.cores.items()
    }
    best = max(near, key=lambda node: (near[node], -node))
    # A GPU equally local to several nodes belongs to none of them.
    return best if near[best] and list(near.values()).count(near[best]) == 1 else None


def assign(
    wishes: list[InstanceWish],
    devices: list[Gpu],
    uncut: Mapping[int, str] | None = None,
    others: Sequence[str] = (),
) -> list[list[Gpu]]:
    """Return the devices of each wish, in the order of the wishes.

    Indexes and ids are taken literally and may overlap. MIG profiles and counts get devices that no other instance has.
    Counts get whole GPUs, the largest count first, each from the node with most free GPUs, which keeps an instance's
    GPUs near its CPUs and spreads instances. ``uncut`` are GPUs in MIG mode without a slice, ``others`` those left out.
    """
    assigned: list[list[Gpu]] = [[] for _wish in wishes]
    uncut = uncut or {}
    asking = [place for place, wish in enumerate(wishes) if wish.gpus]
    for place in asking:
        if not devices:
            raise _none(wishes[place], uncut, others)
    profiles = [place for place in asking if _profiles(wishes[place])]
    counts = [place for place in asking if not isinstance(wishes[place].gpus, list)]
    for place in asking:
        if place not in profiles and place not in counts:
            assigned[place] = _named(wishes[place], devices, uncut, others)
    free = _free(devices, assigned)
    for place in profiles:
        assigned[place] = _sliced(wishes[place], free, devices, others)
        free = _free(devices, assigned)
    for place in sorted(counts, key=lambda place: -_count(wishes[place])):
        assigned[place] = _packed(wishes[place], free, devices, uncut, others)
        free = _free(devices, assigned)
    return assigned


def _free(devices: list[Gpu], assigned: list[list[Gpu]]) -> list[Gpu]:
    taken = {gpu.identity for gpus in assigned for gpu in gpus}
    return [gpu for gpu in devices if gpu.identity not in taken]


def _none(wish: InstanceWish, uncut: Mapping[int, str], others: Sequence[str]) -> WishError:
    if uncut:
        problem = f"asks for GPUs, and {_in_mig_mode(uncut)}{_and(others)}"
        return WishError(f"{wish.path}.gpus", problem, MAKE_SLICES)
    beside = f" but {joined(list(others))}" if others else ""
    return WishError(
        f"{wish.path}.gpus",
        f"asks for GPUs, the host has none{beside}",
        "set it to 0, or run this instance on a host with GPUs",
    )


def _and(others: Sequence[str]) -> str:
    return f", and {joined(list(others))}" if others else ""


def _in_mig_mode(uncut: Iterable[int]) -> str:
    uncut = list(uncut)
    named = f"GPU {uncut[0]} is" if len(uncut) == 1 else f"GPUs {cpu_mask.listed(cpu_mask.of(uncut))} are"
    return f"{named} in MIG mode without a slice, so that nothing can run on {'it' if len(uncut) == 1 else 'them'}"


def _count(wish: InstanceWish) -> int:
    """Return how many GPUs a wish asks for by number, 0 if it names them."""
    return 0 if isinstance(wish.gpus, list) else int(wish.gpus)


def _listed(wish: InstanceWish) -> list[int | str]:
    """Return the GPUs that a wish names."""
    return wish.gpus if isinstance(wish.gpus, list) else []


def _profiles(wish: InstanceWish) -> list[str]:
    """Return the MIG profiles that a wish names."""
    return [each for each in _listed(wish) if isinstance(each, str) and PROFILE.fullmatch(each)]


def _sliced(wish: InstanceWish, free: list[Gpu], devices: list[Gpu], others: Sequence[str]) -> list[Gpu]:
    """Return a free slice of the profile that a wish names, from the GPU with most such slices left."""
    wanted, path = _profiles(wish)[0].lower(), f"{wish.path}.gpus"
    if len(_listed(wish)) > 1:
        problem = f"names {wanted} and more, and CUDA gives a process one MIG slice only"
        raise WishError(path, problem, "use one slice for each instance")
    fitting = [gpu for gpu in free if gpu.profile.lower() == wanted]
    if not fitting:
        there = sum(gpu.profile.lower() == wanted for gpu in devices)
        has = f"and none of the host's {there} is free" if there else f"the host has {_available(devices, others)}"
        remedy = "share one by its id" if there else "choose among those"
        raise WishError(path, f"asks for a MIG slice {wanted}, {has}", f"{remedy}, or make one with nvidia_driver_mig")
    left_on = [gpu.index for gpu in fitting]
    return [min(fitting, key=lambda gpu: (-left_on.count(gpu.index), gpu.index))]


def _named(wish: InstanceWish, devices: list[Gpu], uncut: Mapping[int, str], others: Sequence[str]) -> list[Gpu]:
    by_id: dict[int | str, list[Gpu]] = {}
    for gpu in devices:
        by_id.setdefault(str(gpu.identity).lower(), []).append(gpu)
        by_id.setdefault(gpu.index, []).append(gpu)
        if gpu.parent:
            by_id.setdefault(gpu.parent.lower(), []).append(gpu)
    chosen: list[Gpu] = []
    for position, wanted in enumerate(_listed(wish)):
        path = f"{wish.path}.gpus"
        found = by_id.get(wanted.lower() if isinstance(wanted, str) else wanted, [])
        bare = [index for index, uuid in uncut.items() if wanted == index or str(wanted).lower() == uuid.lower()]
        called = f"GPU {wanted}" if isinstance(wanted, int) else f"'{wanted}'"
        if not found and bare:
            raise WishError(path, f"asks for {called}, and {_in_mig_mode(bare)}", MAKE_SLICES)
        if not found:
            has = f"the host has {_available(devices, others)}"
            raise WishError(path, f"asks for {called}, {has}", "choose among those")
        # A GPU cut into a single slice is still not the whole GPU.
        if found[0].is_slice and str(wanted).lower() != str(found[0].identity).lower():
            raise WishError(
                path,
                f"asks for {called}, which is cut into {counted(len(found), 'MIG slice')}",
                f"name a slice, such as {found[0].identity}, or its profile, {found[0].profile}",
            )
        if found[0] in chosen:
            raise WishError(f"{path}[{position}]", f"names {found[0].label} a second time", "leave it out")
        chosen += found
    return _refuse_several_slices(wish, chosen)


def _available(devices: list[Gpu], others: Sequence[str]) -> str:
    """Name the devices of a host briefly (``0-7``), then those that no server can use."""
    without = f", without {joined(list(others))}" if others else ""
    if len(devices) == 1:
        return f"{devices[0].label} only{without}"
    whole = cpu_mask.listed(cpu_mask.of(gpu.index for gpu in devices if not gpu.is_slice))
    slices = [f"{gpu.identity} ({gpu.profile})" for gpu in devices if gpu.is_slice]
    return f"{joined([*([whole] if whole else []), *slices])}{without}"


def _packed(
    wish: InstanceWish, free: list[Gpu], devices: list[Gpu], uncut: Mapping[int, str], others: Sequence[str]
) -> list[Gpu]:
    count = _count(wish)
    whole = [gpu for gpu in devices if not gpu.is_slice]
    free = [gpu for gpu in free if not gpu.is_slice]
    if count > len(free):
        raise WishError(f"{wish.path}.gpus", *_too_few(count, len(free), len(whole), devices, uncut, others))
    by_node: dict[int | None, list[Gpu]] = {}
    for gpu in free:
        by_node.setdefault(gpu.node, []).append(gpu)
    roomiest_first = sorted(by_node.values(), key=lambda gpus: (-len(gpus), gpus[0].index))
    chosen = {gpu.identity for gpu in [gpu for gpus in roomiest_first for gpu in gpus][:count]}
    return _refuse_several_slices(wish, [gpu for gpu in free if gpu.identity in chosen])


def _too_few(
    count: int, free: int, whole: int, devices: list[Gpu], uncut: Mapping[int, str], others: Sequence[str]
) -> tuple[str, str]:
    """Return problem and remedy for a count that cannot be granted; slices do not count as GPUs."""
    left = (f", of which {free} are not yet taken" if free else ", all taken") if free < whole else ""
    has = f"asks for {counted(count, 'GPU')}, the host has {whole}{left}"
    profiles = sorted({gpu.profile for gpu in devices if gpu.is_slice})
    if profiles:
        slices = counted(len(devices) - whole, "MIG slice")
        fewer = "let instances share a GPU by listing the same one" if count == 1 and whole else "ask for fewer"
        remedy = f"name a slice by its profile, such as gpus: [{profiles[0]}], or {fewer}"
        return f"{has}{' whole' if not left else ','} and {slices} ({joined(profiles)}){_and(others)}", remedy
    if uncut:
        return f"{has}, and {_in_mig_mode(uncut)}{_and(others)}", MAKE_SLICES
    return f"{has}{_and(others)}", "ask for fewer, or let instances share GPUs by listing the same ones"


def _refuse_several_slices(wish: InstanceWish, chosen: list[Gpu]) -> list[Gpu]:
    if len(chosen) > 1 and any(gpu.is_slice for gpu in chosen):
        problem = f"comes to {joined([gpu.label for gpu in chosen])}, and CUDA gives a process one MIG slice only"
        raise WishError(f"{wish.path}.gpus", problem, "use one slice for each instance")
    return chosen


def homes(devices: list[Gpu]) -> dict[int, int]:
    """Return how many of the devices are attached to each node."""
    count: dict[int, int] = {}
    for gpu in devices:
        if gpu.node is not None:
            count[gpu.node] = count.get(gpu.node, 0) + 1
    return count


def explain(sheet: Sheet, wish: InstanceWish, devices: list[Gpu]) -> None:
    """Note why an instance has these devices, and warn if they are on several nodes."""
    if not devices:
        sheet.reasons["gpus"] = "none asked for"
        return
    names = joined([gpu.label for gpu in devices])
    how = (
        f"the profile {devices[0].profile} asked for"
        if _profiles(wish)
        else "as listed"
        if isinstance(wish.gpus, list)
        else f"{counted(len(devices), 'device')} asked for, from the node with most free"
    )
    sheet.reasons["gpus"] = f"{names}: {how}"
    nodes = {gpu.node for gpu in devices}
    if None in nodes:
        sheet.warnings.append(
            f"{wish.path}.gpus: the firmware does not report the node of {names}, so the CPUs of"
            f" '{wish.name}' may be far from them"
        )
    elif len(nodes) > 1:
        where = joined([str(node) for node in sorted(node for node in nodes if node is not None)])
        sheet.warnings.append(f"{wish.path}.gpus: {names} are attached to nodes {where}, so '{wish.name}' spans them")
