# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The models of a plan, compared with the host's disk: what is to be published, replaced, refused and removed."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..disk.archives import check_saved_model
from ..errors import RefusalError, WishError
from ..golden import proofs, warmup
from ..refusals import Refusals
from ..saved_model import check as model_check
from ..saved_model.check import Demands
from ..saved_model.version_names import MAX_VERSION
from ..scalars import truth
from .names import MODEL_NAME
from .sources import table as sources
from .store import Store, listing

_VERSION_NAME = re.compile(r"[1-9][0-9]{0,18}")

# The part of a wish that declines warm-up records.
DECLINED = "warmup"

# Within the class below, the name of the module is that of a field.
WarmUp = warmup.Wish


@dataclass(frozen=True)
class Wanted:
    """One model as wished: what must be on disk, where it comes from and who serves it (REST ports)."""

    where: str
    name: str
    versions: tuple[int, ...]
    provides: tuple[int, ...]
    source: Mapping[str, Any]
    serve: Mapping[str, Any]
    keep: int | None
    ports: tuple[int | None, ...]
    demands: Demands = field(default_factory=Demands)
    warmup: warmup.Wish = field(default_factory=warmup.Wish)
    protected: tuple[int, ...] = ()
    own: Mapping[int, tuple[Demands, WarmUp]] = field(default_factory=dict)
    """The demands and the warm-up of versions that have others than the rest."""

    def demands_of(self, version: int) -> Demands:
        """Return what is asked of a version."""
        return self.own[version][0] if version in self.own else self.demands

    def warmup_of(self, version: int) -> WarmUp:
        """Return what the warm-up records of a version are made of."""
        return self.own[version][1] if version in self.own else self.warmup

    def checksum(self, version: int) -> str | None:
        """Return the checksum that is wished for a version, if there is one."""
        wished = self.source.get("sha256")
        if isinstance(wished, Mapping):
            wished = {str(key): value for key, value in wished.items()}.get(str(version))
        elif (version,) != self.provides:
            return None
        return wished.lower() if wished else None


@dataclass(frozen=True)
class Request:
    """One version and the place that provides it.

    ``published`` is empty for one that is not on disk. It is the record of one that is and never served: where the
    source has other content, it is replaced, and so it is where it was to be warmed up otherwise (``stale``).
    """

    model: Wanted
    version: int
    published: Mapping[str, Any] = field(default_factory=dict)
    stale: bool = False

    @property
    def key(self) -> str:
        return f"{self.model.name}/{self.version}"

    @property
    def uri(self) -> str:
        return str(self.model.source["uri"]).replace("{version}", str(self.version))

    @property
    def sha256(self) -> str | None:
        return self.model.checksum(self.version)

    @property
    def demands(self) -> Demands:
        return self.model.demands_of(self.version)

    @property
    def source(self) -> Mapping[str, Any]:
        return self.model.source


def read_wanted(
    models: Sequence[Mapping[str, Any]],
    instances: Sequence[Mapping[str, Any]],
    beside: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[Wanted]:
    """Check the plan's models and find out who serves them; raises WishErrors with all that is wrong.

    ``beside`` is what travels beside the plan: what may be secret of the source of a model, by the model's name.
    """
    refusals = Refusals()
    wanted = [refusals.check(_read_one, at, model, instances, beside or {}) for at, model in enumerate(models)]
    names = [model["name"] for model in models]
    for at, name in enumerate(names):
        if name in names[:at]:
            where = f"{_path(at, models[at])}.name"
            refusals.add(WishError(where, f"{name} is listed twice", "merge the two, or rename one"))
    refusals.stop()
    return wanted


def _path(at: int, model: Mapping[str, Any]) -> str:
    return model.get("path") or f"tfserving_models[{at}]"


def _read_one(
    at: int,
    model: Mapping[str, Any],
    instances: Iterable[Mapping[str, Any]],
    beside: Mapping[str, Mapping[str, Any]],
) -> Wanted:
    where, name, keep = _path(at, model), model["name"], model.get("keep")
    source = sources.whole(model["source"], beside.get(name, {}))
    if not MODEL_NAME.fullmatch(name):
        raise WishError(f"{where}.name", f"{name!r} cannot be a directory", "use letters, digits, '_', '-' and '.'")
    if keep is not None and keep < 1:
        raise WishError(f"{where}.keep", f"{keep} would leave no version", "keep at least 1")
    row = sources.check(f"{where}.source", source)
    versions = _numbers(f"{where}.versions", model["versions"])
    if model.get("provided") is not None:
        provides = _numbers(f"{where}.provided", model["provided"])
    else:
        provides = versions if row.several(source) or len(versions) == 1 else ()
    _refuse_shared_checksum(f"{where}.source", source, provides)
    serve, demands = model.get("serve") or {}, _demands(model, instances)
    ports, warming = _ports(name, instances), _warmup(model, instances)
    protected = _numbers(f"{where}.protected", model.get("protected") or ())
    apart = {version: proofs.of_version(model, version) for version in proofs.apart(model, versions)}
    own = {version: (_demands(each, instances), _warmup(each, instances)) for version, each in apart.items()}
    return Wanted(where, name, versions, provides, source, serve, keep, ports, demands, warming, protected, own)


def _demands(model: Mapping[str, Any], instances: Iterable[Mapping[str, Any]]) -> Demands:
    """Return what is asked of a model, and by which of the instances that serve it."""
    servers = [(one["name"], one.get("flags") or {}) for one in instances if model["name"] in one.get("models", ())]
    batching = tuple(name for name, flags in servers if flags.get("enable_batching"))
    # The server splits the flag at commas alone (main.cc, str_util::Split).
    tags = {frozenset(str(flags.get("saved_model_tags") or "serve").split(",")) for _name, flags in servers}
    cache = model.get("cache") or {}
    repeatable = bool(cache) and not truth(cache.get("deterministic"))
    return Demands(model.get("contract"), batching, tuple(sorted(tags, key=sorted)), repeatable)


def _warmup(model: Mapping[str, Any], instances: Iterable[Mapping[str, Any]]) -> warmup.Wish:
    """Return what warm-up records are made of: the golden requests, else the probe, unless they are not wished."""
    golden, probe = model.get("golden") or {}, model.get("probe")
    if truth(model.get("warmup")) is False:
        return warmup.Wish(key=DECLINED)
    sizes = warmup.batch_sizes(one for one in instances if model["name"] in one.get("models", ()))
    if golden.get("requests"):
        return warmup.Wish(tuple(golden["requests"]), sizes, golden["file"], "golden", golden["sha256"])
    if not isinstance(probe, Mapping) or not {"instances", "inputs"} & set(probe):
        return warmup.Wish()
    digest = hashlib.sha256(json.dumps(probe, sort_keys=True).encode()).hexdigest()
    return warmup.Wish((probe,), sizes, "probe", "probe", digest)


def _numbers(path: str, values: Iterable[object]) -> tuple[int, ...]:
    return tuple(sorted({version_number(value, path) for value in values}))


def version_number(value: object, path: str) -> int:
    """Return a version as the server would read it; digits in a string are one, as templates make them so."""
    if isinstance(value, bool) or not _VERSION_NAME.fullmatch(str(value)) or int(str(value)) > MAX_VERSION:
        raise WishError(path, f"{value!r} is not a version", "use a whole number from 1, without leading zeros")
    return int(str(value))


def _refuse_shared_checksum(where: str, source: Mapping[str, Any], provides: Sequence[int]) -> None:
    if source.get("sha256") and not isinstance(source["sha256"], Mapping) and len(provides) > 1:
        versions = " and ".join(map(str, provides))
        raise WishError(f"{where}.sha256", f"one checksum cannot be that of {versions}", "map versions to checksums")


def _ports(name: str, instances: Iterable[Mapping[str, Any]]) -> tuple[int | None, ...]:
    """Return the REST port of every instance that serves the model; None for one that has none."""
    return tuple((one.get("ports") or {}).get("rest") or None for one in instances if name in one.get("models", ()))


Available = Callable[[Wanted], "set[int]"]
Differs = Callable[[Request], bool]


def missing_versions(
    wanted: Wanted, store: Store, available: Available, differs: Differs
) -> tuple[list[Request], list[str]]:
    """Return the versions to be published, and notes on those that are there.

    ``available`` tells which versions of a model a server answers for, ``differs`` whether the source of a version that
    is there has other content. Raises WishError where one that is there contradicts the wish or does not fit its
    servers, or no source provides one that is not.
    """
    _refuse_doubles(wanted, store)
    on_disk = store.versions(wanted.name)
    there = [version for version in wanted.versions if version in on_disk]
    serving = served(wanted.serve, {*on_disk, *wanted.versions}) if wanted.ports else set()
    found = [_check_published(wanted, version, store, available, version in serving) for version in there]
    replaced = [request for request, _note in found if request and (request.stale or differs(request))]
    for version in sorted(serving & set(on_disk) - {request.version for request in replaced}):
        _check_demands(wanted, version, store)
    missing = [_request(wanted, version) for version in wanted.versions if version not in on_disk]
    notes = [note for _request, note in found if note]
    notes += [
        f"{wanted.name}: version {request.version} has never served and its "
        f"{'warm-up records are of earlier wishes' if request.stale else 'source has other content'}; it is replaced"
        for request in replaced
    ]
    kept = set(there) - {request.version for request in replaced}
    notes += [note for version in sorted(kept) for note in _other_warmup(wanted, version, store)]
    _refuse_to_serve_another(wanted, on_disk)
    return [*replaced, *missing], [*notes, *_files_like_versions(wanted, store)]


def _other_warmup(wanted: Wanted, version: int, store: Store) -> list[str]:
    """Return a note on a version whose warm-up records are of other requests than those of today."""
    before, wish = (store.marker(wanted.name, version).get("warmup") or {}).get("of"), wanted.warmup_of(version)
    if not before or not wish.requests or before == wish.digest:
        return []
    return [
        f"{wanted.name}: version {version} keeps its warm-up records, which are of earlier requests than "
        f"{wish.origin} has now; a published version never changes"
    ]


def _is_stale(wanted: Wanted, version: int, marker: Mapping[str, Any]) -> bool:
    """Return whether a version has warm-up records that would not be made today.

    A server does not load what refuses one of them, so that a mended wish has to reach a version that never served.
    """
    made, wish = marker.get("warmup") or {}, wanted.warmup_of(version)
    if not made.get("of") or not wish.requests:
        return bool(made) and wish.key == DECLINED
    return bool(made["of"] != wish.digest or set(made.get("sizes") or ()) - set(wish.sizes))


def _refuse_to_serve_another(wanted: Wanted, on_disk: Sequence[int]) -> None:
    """Refuse a policy of the latest versions where newer ones on disk would take the place of the wanted one."""
    newest = max(wanted.versions, default=0)
    instead = served(wanted.serve, {*on_disk, *wanted.versions})
    if "latest" in wanted.serve and newest not in instead:
        raise WishError(
            f"{wanted.where}.serve.latest",
            f"would serve version {max(instead)}, which is on this host, and not the wanted {newest}",
            f"write serve: {{versions: [{newest}]}}, or remove {max(instead)} from {wanted.name} in the model root",
        )


def _refuse_doubles(wanted: Wanted, store: Store) -> None:
    for version, names in sorted(store.named(wanted.name).items()):
        if len(names) > 1:
            raise WishError(
                f"{wanted.where}.versions",
                f"version {version} lies twice in {store.base(wanted.name)}, as {' and '.join(map(repr, names))}, "
                "and the server takes either",
                "remove one of them",
            )


def _files_like_versions(wanted: Wanted, store: Store) -> list[str]:
    """Return a note on each file that the server takes for a version: it looks at names alone."""
    base = store.base(wanted.name)
    names = [name for names in store.named(wanted.name).values() for name in names]
    return [
        f"{wanted.name}: the server takes the file {os.path.join(base, name)} for a version; move it away"
        for name in names
        if not os.path.isdir(os.path.join(base, name))
    ]


def _check_demands(wanted: Wanted, version: int, store: Store) -> None:
    place = store.place(wanted.name, version)
    try:
        model_check.served_from(place, wanted.demands_of(version))
    except RefusalError as refusal:
        where = wanted.where if refusal.key == "source" else f"{wanted.where}.{refusal.key}"
        problem = f"version {version} on this host cannot be served: {refusal.problem}"
        raise WishError(where, problem, refusal.remedy) from refusal


def _check_published(
    wanted: Wanted, version: int, store: Store, available: Available, serving: bool
) -> tuple[Request | None, str]:
    """Return the request to replace a version that never served, and a note."""
    marker, wished = store.marker(wanted.name, version), wanted.checksum(version)
    if not marker:
        return None, _check_adopted(wanted, version, store)
    same = wished in (marker.get("sha256"), marker.get("tree")) if wished else None
    # Without a checksum the content itself is compared: where the type can, and only until the version has served.
    comparable = serving and sources.of(wanted.source).has_other_content
    stale = serving and _is_stale(wanted, version, marker)
    if not stale and (same or (same is None and not comparable)):
        return None, ""
    if version in wanted.provides and not (marker.get("proven") or version in available(wanted)):
        return Request(wanted, version, marker, stale), ""
    if same is False:
        raise WishError(
            f"{wanted.where}.source.sha256",
            f"version {version} is already published with another checksum",
            "versions are immutable, publish as a new version number",
        )
    return None, ""


def _check_adopted(wanted: Wanted, version: int, store: Store) -> str:
    """Refuse a version that was put there by hand and is not whole; return a note on what is not compared."""
    path = store.place(wanted.name, version)
    try:
        found = listing(path)
        check_saved_model(found)
        model_check.check(path, found.files, wanted.demands_of(version))
    except RefusalError as refusal:
        raise WishError(
            f"{wanted.where}.versions",
            f"version {version} was put on this host by hand and cannot be served: {refusal.problem}",
            f"complete or remove {path}",
        ) from refusal
    hand = wanted.checksum(version) and f"{wanted.name}: version {version} was put there by hand"
    return f"{hand}, its checksum is not compared" if hand else ""


def _request(wanted: Wanted, version: int) -> Request:
    if version in wanted.provides:
        return Request(wanted, version)
    named = version in map(int, wanted.serve.get("versions") or ())
    provided = f"only version {', '.join(map(str, wanted.provides))}" if wanted.provides else "one unnamed version"
    key, _problem, remedy = sources.of(wanted.source).one_alone
    raise WishError(
        f"{wanted.where}.serve.versions" if named else f"{wanted.where}.versions",
        f"version {version} is not on this host and the source provides {provided}",
        f"{remedy} (source.{key}), or publish {version} first",
    )


def surplus(on_disk: Iterable[int], keep: int | None, protected: Iterable[int]) -> list[int]:
    """Return the versions to remove: older than the ``keep`` newest and not protected; None keeps all."""
    if keep is None:
        return []
    return sorted(set(sorted(on_disk, reverse=True)[keep:]) - set(protected))


def served(serve: Mapping[str, Any], on_disk: Iterable[int]) -> set[int]:
    """Return the versions of those on disk that a serve policy names."""
    newest_first = sorted(on_disk, reverse=True)
    if serve.get("all"):
        return set(newest_first)
    if serve.get("versions"):
        labelled = (serve.get("labels") or {}).values()
        return {int(version) for version in (*serve["versions"], *labelled)} & set(newest_first)
    return set(newest_first[: int(serve.get("latest") or 1)])
