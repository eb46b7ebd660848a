# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What the first call of a run found on each host: who cannot be reached, and where another run is at work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError

from .hosts import NAMED, named

# By host what the module run_lock returned, or what Ansible says where it was not reached.
Answers = Mapping[str, Mapping[str, Any]]


def judge(answers: Answers, pattern: Any, leave_out: bool, spare: bool = False) -> dict[str, Any]:
    """Return who takes no part in a run, each with a sentence, and what to say of that at the end.

    :param pattern: the pattern of the fleet's hosts.
    :param leave_out: whether to go on without hosts that cannot be reached.
    :param spare: whether to go on without any of these hosts.
    :returns: ``refused`` and ``left_out``, host -> sentence; ``summary``, empty where nobody is left out.
    :raises WishError: hosts cannot be reached, and the run may not go on without them.
    """
    missing = [host for host, answer in answers.items() if answer.get("unreachable")]
    if not spare:
        _refuse_missing(sorted(missing), len(answers), pattern, leave_out)
    sentences = {host: _refusal(host, answer) for host, answer in answers.items() if host not in missing}
    refused = {host: sentence for host, sentence in sentences.items() if sentence}
    lost = {host: f"{host}: cannot be reached; this run leaves it out" for host in missing}
    return {
        "refused": {} if spare else refused,
        "left_out": {**lost, **refused} if spare else lost,
        "summary": summary(missing),
    }


def _refuse_missing(missing: Sequence[str], asked: int, pattern: Any, leave_out: bool) -> None:
    if not missing or (leave_out and len(missing) < asked):
        return
    if len(missing) == asked:
        raise WishError(named(missing), "no host of this run can be reached", "see the messages above")
    shown = pattern if isinstance(pattern, str) else ":".join(pattern)
    limit = ":".join([shown, *(f"!{host}" for host in missing[:NAMED])])
    remedy = f"fix that, leave them out with --limit '{limit}', or set fleet_unreachable: leave_out"
    raise WishError(named(missing), "cannot be reached, and nothing has been changed on any host", remedy)


def _refusal(host: str, answer: Mapping[str, Any]) -> str:
    """Return the sentence of the lock; where the lock was never asked for, what stood in the way."""
    if "refusal" in answer:
        return str(answer["refusal"])
    return str(answer.get("msg") or WishError(host, "gave no answer", "see the messages above"))


def summary(missing: Sequence[str]) -> str:
    """Return what a run says at its end of the hosts that it left out."""
    if not missing:
        return ""
    were = "was" if len(missing) == 1 else "were"
    return (
        f"{', '.join(missing)}: could not be reached and {were} left out (fleet_unreachable); nothing is changed there."
        f" Run again with --limit '{':'.join(missing)}' when that is fixed."
    )
