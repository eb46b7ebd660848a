# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The counters of a gateway's HAProxy, from its admin socket, once a sample."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from ..gateway import runtime

SECONDS = 1.0
INFO = (
    *(
        "Idle_pct",
        "Maxconn",
        "CurrConns",
        "CumConns",
        "CumReq",
        "CurrSslConns",
        "CumSslConns",
        "MaxSslConns",
        "SslRate",
    ),
    *("SslFrontendKeyRate", "SslBackendKeyRate", "SslFrontendSessionReuse_pct", "ConnRate", "MaxConnRate", "SessRate"),
    *("MaxSessRate", "Nbthread", "Uptime_sec", "Run_queue", "Tasks", "MaxSock", "Ulimit-n", "FailedResolutions"),
    *("PoolFailed", "Stopping", "DroppedLogs", "TotalWarnings"),
)
NUMBERS = (
    *(*runtime.NUMBERS, "smax", "qmax", "ctime", "ttime", "lbtot", "req_tot", "conn_tot", "connect", "reuse"),
    *("rate_max", "req_rate", "qlimit", "downtime", "dcon", "dses"),
)


def sample(path: str, at: float, ask: Callable[[str, str, float], str] = runtime.ask) -> dict[str, Any]:
    """Return the counters of this moment. Raises SocketError."""
    info = runtime.info(ask(path, "show info", SECONDS))
    kept = {name: int(info[name]) for name in INFO if re.fullmatch(r"-?[0-9]{1,18}", info.get(name, ""))}
    return {"at": at, "info": kept, **runtime.stat(ask(path, "show stat", SECONDS), NUMBERS)}
