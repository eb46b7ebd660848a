# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""From a version directory to a servable: session, batcher, warm-up."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any

from tensorflow.python.framework import errors_impl
from tensorflow.python.lib.io import _pywrap_record_io
from tensorflow_serving.apis import prediction_log_pb2

from tfs_reference import batching, inference, log, metrics, textproto
from tfs_reference.servable import Servable, Session
from tfs_reference.status import StatusError, invalid_argument, of_exception

WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"
MAX_WARMUP_RECORDS = 1000
PER_MODEL_BATCHING_FILE = "batching_params.pbtxt"


@dataclass
class Loader:
    """Loads versions; `batching_parameters` is None when the server does not batch."""

    session_config: Any
    tags: list[str]
    batching_parameters: Any | None
    scheduler: batching.Scheduler | None
    per_model_batching: bool
    warmup: bool
    warmup_iterations: int

    def __call__(self, name: str, version: int, path: str) -> Servable:
        """Raises StatusError; nothing stays loaded then."""
        log.info(f"Reading SavedModel from: {path}")
        started = time.monotonic()
        session = Session(path, self.tags, self.session_config)
        try:
            runner = self._batched(session, path)
            servable = Servable(name, version, session.signatures, runner)
        except BaseException:
            session.close()
            raise
        try:
            if self.warmup:
                self._warm_up(servable, path)
        except BaseException:
            servable.close()
            raise
        log.info(
            f"SavedModel load for tags {{ {' '.join(self.tags)} }}; Status: success: OK. "
            f"Took {int((time.monotonic() - started) * 1e6)} microseconds."
        )
        return servable

    def _batched(self, session: Session, path: str) -> Any:
        parameters = self.batching_parameters
        if self.scheduler and self.per_model_batching:
            file = os.path.join(path, PER_MODEL_BATCHING_FILE)
            # Without the file the version is served without batching: the global limits are no fallback.
            parameters = textproto.read(file, "BatchingParameters") if os.path.exists(file) else None
        if self.scheduler is None or parameters is None:
            return session
        log.info("Wrapping session to perform batch processing")
        return batching.BatchingSession(session, session.signatures, batching.Options.of(parameters), self.scheduler)

    def _warm_up(self, servable: Servable, path: str) -> None:
        """Replay the shipped requests; a missing file is fine, anything else that fails fails the load."""
        file = os.path.join(path, WARMUP_FILE)
        if not os.path.exists(file):
            return
        log.info(f"Starting to read warmup data for model at {file} with model-warmup-options")
        started = time.monotonic()
        records = 0
        try:
            for record in _pywrap_record_io.RecordIterator(file, ""):
                records += 1
                if records > MAX_WARMUP_RECORDS:
                    raise invalid_argument(
                        f"Number of warmup records exceeds the maximum ({MAX_WARMUP_RECORDS}) at {file}"
                    )
                for _ in range(max(1, self.warmup_iterations)):
                    self._replay(servable, record)
        except errors_impl.DataLossError as error:
            raise StatusError(
                "DATA_LOSS", f"{error.message}. Please verify your warmup data is in TFRecord format"
            ) from error
        micros = int((time.monotonic() - started) * 1e6)
        metrics.WARMUP_LATENCY.observe(micros, path, "OK")
        log.info(
            f"Finished reading warmup data for model at {file}. Number of warmup records read: {records}. "
            f"Elapsed time (microseconds): {micros}."
        )

    def _replay(self, servable: Servable, record: bytes) -> None:
        try:
            entry = prediction_log_pb2.PredictionLog.FromString(record)
        except Exception as error:
            raise invalid_argument(f"Failed to parse warmup record: {error}") from error
        kind = entry.WhichOneof("log_type")
        replays = {
            "predict_log": inference.predict,
            "classify_log": inference.classify,
            "regress_log": inference.regress,
            "multi_inference_log": inference.multi_inference,
        }
        if kind not in replays:
            raise StatusError("UNIMPLEMENTED", f"Unsupported log_type for warmup: {kind}")
        try:
            replays[kind](servable, getattr(entry, kind).request, inference.Settings())
        except Exception as error:
            raise of_exception(error) from error
