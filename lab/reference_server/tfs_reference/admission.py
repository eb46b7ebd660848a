# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""How many gRPC calls run at a time: the thread quota of the synchronous C++ server, one of whose threads polls.

A quota of N threads admits N-1 calls (measured with grpc++ 1.51: 1 admits none, 2 admit one, 4 admit three). What is
more is answered at once and reaches no service, so no metric counts it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

EXHAUSTED = "Server Threadpool Exhausted"
# Threads beside the admitted calls': they say no, and answer the health service, which has threads of its own upstream.
_SPARE_THREADS = 32
_HEALTH = "/grpc.health.v1."


class Admission(grpc.ServerInterceptor):
    """Admits `threads` - 1 calls at a time; the health service is never held back."""

    def __init__(self, threads: int) -> None:
        self._slots = threading.BoundedSemaphore(threads - 1) if threads > 1 else None

    def intercept_service(self, continuation: Callable[[Any], Any], handler_call_details: Any) -> Any:
        handler = continuation(handler_call_details)
        if handler is None or handler_call_details.method.startswith(_HEALTH):
            return handler
        return handler._replace(unary_unary=self._admitted(handler.unary_unary))

    def _admitted(self, call: Callable[[Any, grpc.ServicerContext], Any]) -> Callable[[Any, Any], Any]:
        def run(request: Any, context: grpc.ServicerContext) -> Any:
            if self._slots is None or not self._slots.acquire(blocking=False):
                context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, EXHAUSTED)
            try:
                return call(request, context)
            finally:
                self._slots.release()

        return run


def thread_pool(threads: int) -> ThreadPoolExecutor:
    """Python's threads for that many of upstream's; they are started when they are needed."""
    return ThreadPoolExecutor(threads + _SPARE_THREADS, "grpc")
