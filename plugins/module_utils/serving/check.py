# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What an instance should serve by the plan, and the proof that it does: states, labels and a real prediction."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ..golden import proofs, requests
from ..saved_model import signatures, version_names
from ..visible_text import shortened
from . import golden
from .client import (
    AVAILABLE,
    END,
    Client,
    NoRequestError,
    ServerError,
    UnreachableError,
    Version,
    difference,
    given_request,
    served_version,
    wanted_versions,
    zero_requests,
)

_REFUSED = 400
_PROBE_REMEDY = "give it a probe, or probe: false to serve it without proof"


@dataclass(frozen=True)
class Expectation:
    """One model of an instance: the versions its server must serve, its labels, and the requested probe, if any."""

    model: str
    base_path: str
    versions: tuple[int, ...]
    labels: Mapping[str, int] = field(default_factory=dict)
    probe: Mapping[str, Any] = field(default_factory=dict)
    contract: Mapping[str, Any] = field(default_factory=dict)
    golden: Mapping[str, Any] = field(default_factory=dict)
    asked: bool = True
    """Whether a prediction must prove it; `probe: false` declines, unless there are golden requests."""
    batched: bool = False
    version: int | None = None
    """The version that is asked, by its number; None: whichever answers callers who name none."""
    others: tuple[Expectation, ...] = ()
    """Served versions that have a proof of their own, one each."""

    @property
    def parts(self) -> tuple[Expectation, ...]:
        """Return each proof with the versions and labels that it is for."""
        own = {each.version for each in self.others}
        labels = {label: version for label, version in self.labels.items() if version not in own}
        versions = tuple(version for version in self.versions if version not in own)
        return (replace(self, versions=versions, labels=labels, others=()), *self.others)

    @property
    def is_asked(self) -> bool:
        """Return whether a prediction must prove any of the versions."""
        return any(part.asked for part in self.parts)


@dataclass(frozen=True)
class Probe:
    """A model's answer: ``ok`` is None if no fitting request could be made up; ``note`` says why, or what failed.

    ``passing`` marks a refusal that may be temporary. Latencies are in milliseconds. ``golden`` says how many golden
    requests were answered rightly.
    """

    ok: bool | None
    note: str = ""
    latency_ms: float | None = None
    median_ms: float | None = None
    answer: str = ""
    passing: bool = False
    golden: str = ""
    parts: tuple[tuple[Expectation, Probe], ...] = ()
    """The result of each proof, where there are several."""

    def report(self) -> dict[str, Any]:
        """Return the fields for users."""
        shown = {key: value for key, value in vars(self).items() if key not in ("passing", "parts")}
        return {key: value for key, value in shown.items() if value not in ("", None)} | {"ok": self.ok}


def expectations(
    instance: Mapping[str, Any], models: Sequence[Mapping[str, Any]], model_root: str
) -> list[Expectation]:
    """Return what ``instance`` (an entry of the plan) must serve, version policies resolved on this host's disk."""
    wishes = {model["name"]: model for model in models}
    batched = bool((instance.get("flags") or {}).get("enable_batching"))
    return [_expectation(config, wishes.get(config["name"], {}), model_root, batched) for config in _configs(instance)]


def _configs(instance: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    config = instance.get("model_config", {}).get("model_config_list", {}).get("config")
    return config if config is not None else [{"name": name} for name in instance.get("models", [])]


def _expectation(config: Mapping[str, Any], wish: Mapping[str, Any], model_root: str, batched: bool) -> Expectation:
    base_path = config.get("base_path") or f"{model_root}/{config['name']}"
    versions = tuple(wanted_versions(config.get("model_version_policy"), versions_on_disk(base_path)))
    labels = {label: int(version) for label, version in (config.get("version_labels") or {}).items()}
    whole = replace(Expectation(config["name"], base_path, versions, labels, batched=batched), **_proof(wish))
    others = [
        replace(
            whole,
            versions=(version,),
            labels={label: number for label, number in labels.items() if number == version},
            version=version,
            **_proof(proofs.of_version(wish, version)),
        )
        for version in proofs.apart(wish, versions)
    ]
    return replace(whole, others=tuple(others))


def _proof(wish: Mapping[str, Any]) -> dict[str, Any]:
    # A plan that was made without the file, as the filter host_plan makes it, has no requests in it.
    proving: Mapping[str, Any] = wish.get("golden") or {}
    proving = proving if proving.get("requests") else {}
    return {
        "probe": wish.get("probe") or {},
        "contract": wish.get("contract") or {},
        "golden": proving,
        "asked": wish.get("probe") is not False or bool(proving),
    }


def versions_on_disk(base_path: str) -> list[int]:
    """Return the versions below ``base_path`` as the server sees them: directories whose name is a number."""
    try:
        entries = list(Path(base_path).iterdir())
    except OSError:
        return []
    numbers = ((version_names.number(entry.name), entry) for entry in entries)
    return sorted(number for number, entry in numbers if number is not None and entry.is_dir())


def absence(expected: Expectation) -> str:
    """Return what is missing on disk and would keep the server waiting indefinitely, or an empty text."""
    if not expected.versions:
        return (
            f"model {expected.model} has no version in {expected.base_path}, and the server waits for one indefinitely"
        )
    missing = sorted(set(expected.versions) - set(versions_on_disk(expected.base_path)))
    if missing:
        return f"model {expected.model} version {missing[0]} is wanted but is not in {expected.base_path}"
    return ""


def failures(expected: Expectation, versions: Sequence[Version]) -> list[Version]:
    """Return the wanted versions whose load failed."""
    return [version for version in versions if version.failed and version.version in expected.versions]


def shortfalls(expected: Expectation, versions: Sequence[Version]) -> list[str]:
    """Return what differs from the wish: wanted versions not AVAILABLE, others not at their END."""
    states = {version.version: version.state for version in versions}
    waiting = [
        f"model {expected.model} version {version} is {states.get(version, 'not known to the server')}"
        for version in expected.versions
        if states.get(version) != AVAILABLE
    ]
    leaving = [
        f"model {expected.model} version {version} is still {state}"
        for version, state in states.items()
        if version not in expected.versions and state != END
    ]
    return waiting + leaving


def label_shortfalls(client: Client, expected: Expectation) -> list[str]:
    """Return the labels that their version does not answer.

    Queries the metadata, which resolve a label and name the version; the status path accepts any label.
    """
    found = []
    for label, version in sorted(expected.labels.items()):
        try:
            served = served_version(client.metadata(expected.model, label))
        except ServerError as error:
            found.append(f"model {expected.model} label {label} does not answer ({error})")
        else:
            if served != version:
                found.append(f"model {expected.model} label {label} answers from version {served}, not {version}")
    return found


def misfit(client: Client, expected: Expectation) -> str:
    """Return how a served version departs from its contract or from its instance's batching, or an empty text.

    Judged by the server's own metadata, so that it holds for versions of any origin. Raises UnreachableError.
    """
    return next(filter(None, (_misfit_of(client, part) for part in expected.parts)), "")


def _misfit_of(client: Client, expected: Expectation) -> str:
    if not expected.contract and not expected.batched:
        return ""
    for version in expected.versions:
        try:
            found = signatures.of_metadata(client.metadata(expected.model, version=version))
        except ServerError as error:
            return f"model {expected.model} version {version} returns no metadata ({error})"
        problem = _misfit(expected, found)
        if problem:
            return f"model {expected.model} version {version} {problem}"
    return ""


def _misfit(expected: Expectation, found: Mapping[str, signatures.Signature]) -> str:
    words = signatures.departures(expected.contract, found) if expected.contract else ""
    if words:
        return f"departs from its contract: {words}; {signatures.CONTRACT_REMEDY}"
    words = signatures.unbatchable(found, expected.contract.get("signature_name")) if expected.batched else ""
    return f"cannot be served in batches: {words}; {signatures.BATCHING_REMEDY}" if words else ""


def probe(client: Client, expected: Expectation, repeats: int = 1) -> Probe:
    """Request a real prediction ``repeats`` times and once under each label. Raises UnreachableError.

    Several are preceded by one that does not count: the first request after a pause suffers from cold caches. A model
    with golden requests is proven by a round of them, and by its own probe as well if it has one. Versions that have a
    proof of their own are asked by their number; the result is that of the version which is furthest from its proof.
    """
    asked = [part for part in expected.parts if part.asked]
    found: list[tuple[Expectation, Probe]] = []
    for part in asked:
        try:
            found.append((part, _probe(client, part, repeats)))
        except UnreachableError:
            # What is wrong with one version stays so where the next one gives no answer.
            if not any(one.ok is False and not one.passing for _part, one in found):
                raise
            break
    part, worst = max(
        found, key=lambda each: (each[1].ok is False and not each[1].passing, each[1].ok is False, each[1].ok is None)
    )
    if len(asked) == 1:
        return worst
    note = f"version {part.version}: {worst.note}" if worst.note and part.version is not None else worst.note
    return replace(worst, note=note, parts=tuple(found))


def _probe(client: Client, expected: Expectation, repeats: int) -> Probe:
    proven = _golden(client, expected) if expected.golden else None
    if proven and not (proven.ok and expected.probe):
        return proven
    found = _predicted(client, expected, repeats)
    return replace(found, golden=proven.golden) if proven else found


def _golden(client: Client, expected: Expectation) -> Probe:
    try:
        found = golden.ask(client, expected.model, expected.golden, version=expected.version)
    except ServerError as error:
        return _refusal(error, made_up=False)
    wanted = [each for each in expected.golden["requests"] if not each.get("must_fail")]
    if not found.note and wanted:
        refusal = _label_refusal(client, expected, requests.rest_body(wanted[0]))
        if refusal:
            return refusal
    return Probe(
        ok=not found.note,
        note=shortened(found.note, 1024),
        latency_ms=round(min(found.latencies), 2) if found.latencies else None,
        median_ms=round(statistics.median(found.latencies), 2) if found.latencies else None,
        answer=found.answer,
        passing=bool(found.failures) and found.passing,
        golden=found.words,
    )


def _predicted(client: Client, expected: Expectation, repeats: int) -> Probe:
    given = given_request(expected.probe)
    made_up = not {"instances", "inputs"} & set(given)
    try:
        body = _fitting(client, expected, given.get("signature_name")) if made_up else given
        asked = [_asked(client, expected, body) for _turn in range(repeats if repeats == 1 else repeats + 1)]
    except NoRequestError as error:
        return Probe(ok=None, note=f"no request can be generated ({error}); {_PROBE_REMEDY}")
    except ServerError as error:
        return _refusal(error, made_up)
    answer, latencies = asked[-1][0], [latency for _answer, latency in asked[-repeats:]]
    note = _departure(expected, answer)
    refusal = None if note else _label_refusal(client, expected, body)
    if refusal:
        return refusal
    return Probe(
        ok=not note,
        note=note,
        latency_ms=round(min(latencies), 2),
        median_ms=round(statistics.median(latencies), 2),
        answer=shortened(json.dumps(answer), golden.ANSWER_CHARS),
    )


def _asked(client: Client, expected: Expectation, body: Mapping[str, Any]) -> tuple[Any, float]:
    return client.predict(expected.model, body, version=expected.version)


def _fitting(client: Client, expected: Expectation, signature: str | None) -> Mapping[str, Any]:
    """Return the first made-up request that the model accepts, or the first of all if it accepts none."""
    bodies = zero_requests(client.metadata(expected.model, version=expected.version), signature)
    for body in bodies if len(bodies) > 1 else ():
        try:
            _asked(client, expected, body)
        except ServerError as error:
            if error.code != _REFUSED:
                raise
        else:
            return body
    return bodies[0]


def _departure(expected: Expectation, answer: Any) -> str:
    wished = expected.probe.get("expect")
    return "" if wished is None else difference(wished, answer)


def _label_refusal(client: Client, expected: Expectation, body: Mapping[str, Any]) -> Probe | None:
    """Return what comes of a label that does not answer; None where each does."""
    for label in sorted(expected.labels):
        try:
            client.predict(expected.model, body, label)
        except ServerError as error:
            refusal = _refusal(error, made_up=False)
            return replace(refusal, note=f"label {label}: {refusal.note}")
    return None


def _refusal(error: ServerError, made_up: bool) -> Probe:
    if made_up and error.code == _REFUSED:
        # Not every model accepts zeros (an empty text is no image): this refusal proves nothing against it.
        return Probe(ok=None, note=f"the model does not accept zeros ({shortened(str(error), 300)}); {_PROBE_REMEDY}")
    return Probe(ok=False, note=shortened(str(error), 1024), passing=error.code in golden.PASSING)


def survey(client: Client, expected: Expectation) -> tuple[list[Version], list[str]]:
    """Return the states of one model and its problems at this moment. Raises UnreachableError."""
    try:
        versions = client.status(expected.model)
    except ServerError as error:
        return [], [f"model {expected.model}: {error}"]
    failed = [
        f"model {expected.model} version {version.version} failed to load: {version.error}"
        for version in failures(expected, versions)
    ]
    return versions, failed or shortfalls(expected, versions) or label_shortfalls(client, expected)


def states(versions: Sequence[Version]) -> list[dict[str, Any]]:
    """Return the versions as plain data."""
    return [asdict(version) for version in versions]
