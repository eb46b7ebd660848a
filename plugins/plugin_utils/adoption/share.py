# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The share of the calls that gateways give to new instances beside their old servers, and when it grows.

The share is a variable of the inventory ``beside``, so that every run of any playbook keeps it. It is written there
before a gateway learns of it. Each step is judged as a step of a roll-out is: the new instances are the canary, the old
servers the control.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from ansible_collections.tfserving.fleet.plugins.module_utils.disk import durable, plain_files
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import told

from ..diagnosis.reading import listed, mapping, text
from ..gateway import adopted
from ..phrases import joined
from ..rollout import samples, verdict
from ..wishes import checks, rollout
from .gateways import SHARE_FILE, share_text
from .publish import MODE, VARIABLE

RULES = "adopt_rollout"
WISH = "adopt_share"
# Canaries come first with 1 %, since a version may be bad. Here the version is the same, and only how it runs is new.
STEPS = [5, 25, 50, 100]
# Of a step until its deadline: each look is an include inside the one before. By default there is one in 15 seconds.
MOST_LOOKS = 40
WAIT, PASS, HELD, BACK = "wait", "pass", "held", "back"

_MOST = 1 << 16
_percent = checks.whole(0, adopted.WHOLE, "a percentage of the calls")


def present(folder: str) -> int | None:
    """Return the share that an adoption's inventory has now; None where it has none. Raises WishError."""
    path = _path(folder)
    try:
        content = yaml.safe_load(plain_files.read(path, _MOST))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, yaml.YAMLError) as error:
        problem = f"{path} cannot be read ({told(str(error), 200)})"
        raise WishError(VARIABLE, problem, "repair it, or write gateway_adopted_share: 0") from error
    return int(_percent(adopted.SHARE, mapping(content).get(adopted.SHARE)))


def record(folder: str, share: int) -> bool:
    """Write the share into the inventory of an adoption, and return whether that changes it. Raises WishError."""
    if present(folder) == share:
        return False
    try:
        durable.write(_path(folder), share_text(share).encode(), MODE)
    except OSError as error:
        problem = f"{_path(folder)} cannot be written ({error.strerror})"
        raise WishError(VARIABLE, problem, "make it writable for you") from error
    return True


def _path(folder: str) -> str:
    return os.path.join(os.path.abspath(os.path.expanduser(folder)), "beside", SHARE_FILE)


def course(folder: str, entries: Any, given: Any, wished: Any) -> dict[str, Any]:
    """Return the steps that a run takes, the models that are looked at, and a sentence. Raises WishError.

    :param entries: gateway_adopted, as the gateways have it.
    :param given: adopt_rollout, how steps are judged.
    :param wished: adopt_share, a share that a person chooses; nothing for step by step.
    """
    now = present(folder)
    olds = adopted.checked(adopted.ADOPTED, entries or [])
    if now is None or not olds:
        raise WishError(
            adopted.ADOPTED,
            "is empty, so gateways know no old server",
            "run with the beside of the adoption, and with gateways in the inventory",
        )
    rules = _rules(given)
    if wished in (None, ""):
        # What is not known to have passed is looked at again.
        steps = [step for step in rules["steps"] if step > now or step == now < adopted.WHOLE]
        steps = [now, *steps] if 0 < now < adopted.WHOLE and now not in steps else steps
    else:
        steps = [int(_percent(WISH, wished))]
    models = sorted({model for each in olds for model in each["models"]})
    return {"now": now, "steps": steps, "models": models, "is_watched": wished in (None, ""), "text": _told(now, steps)}


def _rules(given: Any) -> dict[str, Any]:
    wish: dict[str, Any] = rollout.rollout(RULES, {"steps": STEPS, **checks.mapping(RULES, given or {})})
    return wish


def _told(now: int, steps: Sequence[int]) -> str:
    if not steps:
        return "the new instances get all calls already"
    return f"the new instances get {now} % of the calls now, then {joined([f'{step} %' for step in steps])}"


def refuse_called(entries: Any, share: Any, host: str, steps: Sequence[Mapping[str, Any]]) -> None:
    """Refuse to stop an old server that gateways still call."""
    now = _percent(adopted.SHARE, share)
    called = {(each["host"], each["instance"]) for each in adopted.checked(adopted.ADOPTED, entries)}
    for step in steps if now < adopted.WHOLE else ():
        if (host, step["instance"]) in called:
            problem = f"is {now}, so gateways still call {step['server']} on {host}"
            raise WishError(adopted.SHARE, problem, "run adopt_share.yml first")


def looked(
    models: Sequence[str], answers: Mapping[str, Mapping[str, Any]], seen: Mapping[str, Any], given: Any, now: float
) -> dict[str, Any]:
    """Return what a look at the calls says of a step: ``outcome``, ``text`` and ``seen``, for the next look.

    :param answers: what the module gateway_calls has returned, by gateway and model.
    :param seen: what the last look has returned; empty for the first one, from which on calls count.
    """
    rules = verdict.rules(_rules(given))
    found = {model: _look(model, answers, mapping(seen.get(model)), rules, now) for model in models}
    lines = [f"{model}: {each['action'].sentence}" for model, each in found.items()]
    after = {model: {"known": each["known"], "evidence": each["evidence"].to_json()} for model, each in found.items()}
    wait_s = math.ceil(rules.deadline_s / MOST_LOOKS)
    return {"outcome": _outcome(list(found.values())), "text": "\n".join(lines), "seen": after, "wait_s": wait_s}


def by_model(results: Any) -> dict[str, Any]:
    """Return the results of a task with a loop over the models by the model; a failed one says why in ``failed``."""
    rows = [mapping(each) for each in listed(results)]
    return {text(each.get("item")): _counts(each) for each in rows}


def _counts(row: Mapping[str, Any]) -> dict[str, Any]:
    wanted = ("process", *samples.ARMS, "gap")
    counted = {name: row[name] for name in wanted if name in row}
    return counted if "canary" in counted else {"failed": text(row.get("msg"))}


def _look(
    model: str, answers: Mapping[str, Mapping[str, Any]], last: Mapping[str, Any], rules: verdict.Rules, now: float
) -> dict[str, Any]:
    counted = {gateway: each.get(model) for gateway, each in answers.items()}
    delta, known = samples.between(mapping(last.get("known")), {"gateways": counted}, list(counted))
    gaps = {gateway: text(mapping(each).get("gap")) for gateway, each in counted.items()}
    delta.broken.extend(f"gateway {gateway} {gap}" for gateway, gap in gaps.items() if gap and last)
    evidence = verdict.from_json(last["evidence"]) if last else verdict.Evidence(now)
    evidence = verdict.look(evidence, delta, rules, now)
    action = verdict.act(verdict.judge(evidence, rules, now), evidence, rules, now)
    return {"known": known, "evidence": evidence, "action": action}


def _outcome(found: Sequence[Mapping[str, Any]]) -> str:
    """Return what follows for all models together: a model that nobody calls at all leaves it to the others."""
    called = [each["action"] for each in found if _is_called(each["evidence"])] or [each["action"] for each in found]
    if any(each.is_share_zero for each in called):
        return BACK
    if all(each.kind == "advance" for each in called):
        return PASS
    return HELD if any(each.needs_person for each in called) else WAIT


def _is_called(evidence: verdict.Evidence) -> bool:
    errors = evidence.of("errors")
    return bool(errors.canary.calls or errors.control.calls)
