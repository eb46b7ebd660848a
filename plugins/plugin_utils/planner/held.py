# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The versions that a model with a roll-out serves: those in force, until rollout.yml moves them.

A model without ``rollout`` is not touched, and neither is one that nobody serves yet: its first version takes the
traffic of no other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.golden import proofs
from ansible_collections.tfserving.fleet.plugins.module_utils.refusals import Refusals
from ansible_collections.tfserving.fleet.plugins.module_utils.serving.versions_text import carried

from ..phrases import counted, joined
from ..wishes.policy import PATHS
from ..wishes.read import ModelWish

STAGES = PATHS["rollout"]
# Names in one sentence; the rest is counted.
MOST_NAMED = 3


@dataclass(frozen=True)
class Served:
    """The versions of a model that a host serves, ascending, and their labels."""

    versions: list[int]
    labels: Mapping[str, int] = field(default_factory=dict)

    def serve(self) -> dict[str, Any]:
        """Return the policy that serves exactly these."""
        return {"versions": list(self.versions), **({"labels": dict(self.labels)} if self.labels else {})}

    def without(self, versions: Iterable[int]) -> Served:
        """Return what is left of it without some versions."""
        left = [version for version in self.versions if version not in set(versions)]
        return Served(left, {label: version for label, version in self.labels.items() if version in left})


def settle(models: Mapping[str, ModelWish], settings: Mapping[str, Any]) -> dict[str, ModelWish]:
    """Return the models of a host as the plan serves them; ``settings`` are the complete policy.

    Raises WishErrors with everything that is refused.
    """
    refusals = Refusals()
    for name in settings["rollout"]:
        if name in models and models[name].rollout is None:
            problem, remedy = "has no rollout in tfserving_models", "give it one, or leave it out here"
            refusals.add(WishError(f"{STAGES}.{name}", problem, remedy))
    settled = {
        name: model if model.rollout is None else refusals.check(_settled, model, settings, default=model)
        for name, model in models.items()
    }
    refusals.stop()
    return settled


def _settled(model: ModelWish, settings: Mapping[str, Any]) -> ModelWish:
    stage = settings["rollout"].get(model.name, "hold")
    known = settings["in_force"].get(model.name) or {}
    wished = _served(model.serve)
    now = _served(known) if known else wished
    before = _before(known["previous"], now) if known.get("previous") else now.without(wished.versions)
    _refuse_unseen(model, stage, bool(known), settings["unseen"])
    if stage != "old" and not (known and now == wished):
        _refuse_reverted(model, settings["reverted"].get(model.name) or {})
    served = _of_stage(model, stage, now, wished, before)
    # What the wish puts on disk without serving it is as good as in force.
    idle = set(model.versions) - set(wished.versions)
    versions = sorted(idle | set(served.versions))
    protected = sorted({*now.versions, *before.versions} - set(versions))
    # With this plan the wish is in force: its proof is that of all its versions, as for a model without a roll-out.
    rests = stage == "new" or now == wished
    proof = partial(_proof, model, set(wished.versions if rests else wished.versions[-1:]), known.get("proofs") or {})
    # A move that is under way or waits ends in these; one that nobody wishes yet brings one version at a time.
    ahead = wished.versions if stage in ("hold", "both") else []
    moves = stage in ("hold", "both") and now != wished
    coming = len({*now.versions, *served.versions, *ahead} - set(served.versions))
    return replace(
        model,
        serve=served.serve(),
        versions=versions,
        provided=_provided(model, versions),
        coming=coming if moves else max(1, coming),
        waits=_waits(now, wished) if moves and stage == "hold" else None,
        protected=protected,
        memory_mb=_size(model, served.versions == wished.versions, known),
        **_proven(max(served.versions), {version: proof(version) for version in {*versions, *protected}}),
    )


def warnings(models: Iterable[ModelWish], settings: Mapping[str, Any]) -> list[str]:
    """Return a warning of each ``retry`` that nothing needs any more; ``models`` are as they are wished."""
    return [
        f"{model.path}.rollout.retry: is true, and every wished version is in force; remove it, or the next version"
        " that is reverted will be tried again unasked"
        for model in models
        if (model.rollout or {}).get("retry") and _is_served(model, settings)
    ]


def _is_served(model: ModelWish, settings: Mapping[str, Any]) -> bool:
    """Return whether nothing of a wish waits any more."""
    found = settings["in_force"].get(model.name)
    is_moved = settings["rollout"].get(model.name, "hold") != "hold"
    return not is_moved and found is not None and _served(found) == _served(model.serve)


def _served(found: Mapping[str, Any]) -> Served:
    return Served(sorted(found["versions"]), found.get("labels") or {})


def _before(previous: Mapping[str, Any], now: Served) -> Served:
    """Return what was served before; where that does not say its labels, those of now, none of which may be lost."""
    versions = sorted(previous["versions"])
    return Served(versions, previous.get("labels", carried(now.labels, versions)))


def _of_stage(model: ModelWish, stage: str, now: Served, wished: Served, before: Served) -> Served:
    if stage == "old" and not before.versions:
        raise WishError(
            f"{model.path}.rollout",
            f"has no version to go back to: this host knows of none before {joined(list(map(str, now.versions)))}",
            "name the version to go back to in version, and take it through rollout.yml",
        )
    # Labels move with the last stage: callers by label are moved by no share.
    both = Served(sorted({*now.versions, *wished.versions}), now.labels)
    return {"hold": now, "both": both, "new": wished, "old": before}[stage]


def _proof(model: ModelWish, wished: set[int], known: Mapping[int, Mapping[str, Any]], version: int) -> dict[str, Any]:
    """Return what proves a version: for the ``wished`` ones what the wish says, for those in force what did before."""
    if version in wished or (version in model.versions and version not in known):
        return {key: getattr(model, key) for key in proofs.KEYS}
    # A version that nobody knows the proof of any more has served before, so a request of zeros has to do.
    unknown = {"probe": False if model.probe is False else None}
    return {**dict.fromkeys(proofs.KEYS), "warmup": model.warmup, **known.get(version, unknown)}


def _proven(highest: int, each: Mapping[int, dict[str, Any]]) -> dict[str, Any]:
    """Return the proof of the version that answers callers who name none, and those that differ from it."""
    others = {version: proof for version, proof in sorted(each.items()) if proof != each[highest]}
    return {**each[highest], "proofs": others}


def _size(model: ModelWish, is_wished: bool, known: Mapping[str, Any]) -> int | None:
    """Return the size of one version: the larger one's while there are two."""
    sizes = (model.memory_mb, known.get("memory_mb"))
    return max(filter(None, sizes)) if all(sizes) and not is_wished else model.memory_mb


def _waits(now: Served, wished: Served) -> dict[str, Any]:
    moved = {"labels": {"from": dict(now.labels), "to": dict(wished.labels)}} if now.labels != wished.labels else {}
    verb = "is" if len(now.versions) == 1 else "are"
    held = f"{joined(list(map(str, now.versions)))} {verb} in force"
    reason = f"{held}, and rollout.yml alone moves a model with a roll-out"
    return {"from": list(now.versions), "to": list(wished.versions), **moved, "reason": reason}


def _provided(model: ModelWish, versions: list[int]) -> list[int]:
    """Return those of ``versions`` that the source can provide; one in force may be older than the wish."""
    digests = model.source.get("sha256")
    anywhere = "{version}" in model.source["uri"] and (digests is None or isinstance(digests, Mapping))
    covered = [version for version in versions if digests is None or str(version) in digests] if anywhere else []
    return sorted({*covered, *(version for version in versions if version in model.provided)})


def _refuse_unseen(model: ModelWish, stage: str, known: bool, unseen: list[str]) -> None:
    """Refuse to serve as the first host what the hosts that take no part may serve in another version."""
    if known or stage != "hold" or not unseen:
        return
    others = len(unseen) - MOST_NAMED
    names = [*unseen[:MOST_NAMED], *([counted(others, "other host")] if others > 0 else [])]
    raise WishError(
        f"{model.path}.rollout",
        f"leaves '{model.name}' as the fleet serves it, and no host of this run has a record that says how;"
        f" {joined(names)} may serve another version",
        f"run it together with such a host, or, where nothing serves yet, set {STAGES}: {{{model.name}: new}}",
    )


def _refuse_reverted(model: ModelWish, reverted: Mapping[int, str]) -> None:
    if (model.rollout or {}).get("retry"):
        return
    for version in model.versions:
        if version in reverted:
            raise WishError(
                f"{model.path}.version",
                f"names {version}, which a roll-out has reverted: {reverted[version]}",
                "name another version, or set rollout.retry to true to try it once more",
            )
