# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Which candidates may be built for an instance, and of the others why not, in one sentence each.

The builder says what the model allows; here is what the server's release, its machine and the instance allow.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..phrases import joined
from ..server import flags
from ..tables import surveyed
from .wishes import Wish, treatments

# What a flag must not be at odds with: the server ignores it then (tables/server_flags.yml, unless).
SWALLOWS = "platform_config_file"


@dataclass(frozen=True)
class Place:
    """Where candidates are to run."""

    plan: Mapping[str, Any]
    """The entry of the instance in the plan in force."""
    model: str
    cpu_flags: Sequence[str]
    """Words of /proc/cpuinfo; empty where they are not known."""
    builder_gpus: Sequence[str] = ()
    host_gpus: Sequence[str] = ()

    @property
    def version(self) -> str:
        """The release of the server."""
        return str(self.plan["server"]["version"])

    @property
    def others(self) -> list[str]:
        """The other models of the instance."""
        return [name for name in self.plan["models"] if name != self.model]


@dataclass(frozen=True)
class Candidate:
    """One that may be built: its kind, the builder's recipe, and the flags that it needs of its instance."""

    kind: str
    recipe: Mapping[str, Any]
    flags: Mapping[str, Any]
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Return the candidate as plain data."""
        return {**vars(self), "recipe": dict(self.recipe), "flags": dict(self.flags)}


def chosen(
    wish: Wish, place: Place, surveyed_model: Sequence[Mapping[str, Any]]
) -> tuple[list[Candidate], dict[str, str]]:
    """Return the candidates to build, and why the others are not, by kind.

    :param surveyed_model: ``candidates`` of the builder's survey.
    """
    found, refused = [], {}
    by_kind = {str(each["recipe"]["kind"]): each for each in surveyed_model if each["recipe"].get("how") != "flags"}
    for kind in treatments():
        why = refusal(kind, wish, place, by_kind.get(kind))
        if why:
            refused[kind] = why
        else:
            row = treatments()[kind]
            recipe = by_kind[kind]["recipe"] if kind in by_kind else _own_recipe(kind, place)
            found.append(Candidate(kind, recipe, needed_flags(kind, place), str(row["reason"])))
    return found, refused


def _own_recipe(kind: str, place: Place) -> dict[str, Any]:
    return {"kind": kind, **({"gpu": place.host_gpus[0]} if kind == "tf_trt" else {})}


def needed_flags(kind: str, place: Place) -> dict[str, Any]:
    """Return the flags of a treatment; what the instance has already is among them."""
    flag = treatments()[kind].get("flag")
    return {flag["name"]: flag["value"]} if flag else {}


def refusal(kind: str, wish: Wish, place: Place, of_model: Mapping[str, Any] | None) -> str:
    """Return why a candidate cannot be built, in one sentence; empty if it can."""
    return next(_refusals(kind, wish, place, of_model), "")


def _refusals(kind: str, wish: Wish, place: Place, of_model: Mapping[str, Any] | None) -> Iterator[str]:
    row = treatments()[kind]
    if kind not in wish.candidates:
        yield "nobody has asked for it"
    if not row.get("exact") and wish.requests is None:
        yield "it takes recorded requests to tell what is lost"
    yield from _of_release(row, place)
    yield from _of_machine(row, place)
    yield from _of_instance(row, place)
    if of_model is None and kind != "tf_trt":
        yield "the builder does not know it"
    if of_model is not None and not of_model.get("possible"):
        yield str(of_model.get("why") or "the builder cannot make it of this model")
    lost = sorted(set((of_model or {}).get("lost_signatures") or ()) - set(wish.lose_signatures))
    if lost:
        permit = f"permit that with -e lose_signatures={','.join(lost)}"
        yield f"it would lose {joined(lost)}, of the model's signatures; {permit}"


def _of_release(row: Mapping[str, Any], place: Place) -> Iterator[str]:
    flag, until = row.get("flag"), row.get("until")
    if flag and flag["name"] not in flags.known_flags(place.version):
        yield f"server {place.version} has no --{flag['name']}"
    if until and surveyed.parse(place.version)[:2] > tuple(map(int, until.split("."))):
        yield f"server {place.version} cannot run it; the last that can is {until}"


def _of_machine(row: Mapping[str, Any], place: Place) -> Iterator[str]:
    needed = row.get("cpu")
    if needed and not place.cpu_flags:
        yield "it is not known what the CPU can do"
    elif needed and not set(needed) & set(place.cpu_flags):
        yield f"the CPU has none of {joined(list(needed))}, without which it is slower"
    if row.get("cpu_only") and place.plan.get("gpus"):
        yield "TFLite in the server runs on the CPU alone, and this instance has a GPU"
    if row.get("gpu_only"):
        yield from _of_gpus(place)


def _of_gpus(place: Place) -> Iterator[str]:
    if not place.plan.get("gpus"):
        yield "it is for GPUs, and this instance has none"
    elif not set(place.host_gpus) & set(place.builder_gpus):
        yield f"it has to be built on the same GPU, {joined(list(place.host_gpus))}, which the builder has not"


def _of_instance(row: Mapping[str, Any], place: Place) -> Iterator[str]:
    flag = row.get("flag")
    if not flag:
        return
    given = place.plan["flags"].get(flag["name"])
    if place.plan["flags"].get(SWALLOWS) and flags.known_flags(place.version).get(flag["name"], {}).get("unless"):
        yield f"the server ignores --{flag['name']} beside --{SWALLOWS}"
    if row.get("shared") and place.others and given != flag["value"]:
        yield f"--{flag['name']} would also change {joined(place.others)}, which this instance serves too"
