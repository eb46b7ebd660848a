# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The lab's ranker with wider towers: a request of 700 items takes some tens of milliseconds on one core."""

from __future__ import annotations

import numpy as np
import ranker
import tensorflow as tf
from ranker import CATEGORIES, DENSE_FEATURES, Tower

TABLE_ROWS = 500  # the time goes into the towers; larger tables would only make a larger artefact
EMBEDDING = 32
TOWER = (768, 384, 64)
DENSE_TOWER = (512, 256)
TOP = (192, 1)
SAMPLE_ITEMS = 5


class WideRanker(tf.Module):
    """Versions differ in their seed, so in their weights and every score."""

    def __init__(self, version: int) -> None:
        super().__init__()
        rng = np.random.default_rng(5000 + version)
        self.tables = [tf.Variable(rng.normal(0, 1, (TABLE_ROWS, EMBEDDING)).astype(np.float32)) for _ in CATEGORIES]
        self.towers = [Tower(rng, EMBEDDING, TOWER) for _ in CATEGORIES]
        self.dense_tower = Tower(rng, DENSE_FEATURES, DENSE_TOWER)
        joined = len(CATEGORIES) * TOWER[-1] + DENSE_TOWER[-1]
        self.top = Tower(rng, joined, TOP, relu_last=False)

    @staticmethod
    def train() -> str:
        return "random weights"

    @tf.function(
        input_signature=[tf.TensorSpec([None], tf.int64, name=name) for name in CATEGORIES]
        + [tf.TensorSpec([None, DENSE_FEATURES], tf.float32, name="dense")]
    )
    def score(self, *features: tf.Tensor) -> dict[str, tf.Tensor]:
        branches = [
            tower(tf.gather(table, tf.math.floormod(column, TABLE_ROWS)))
            for table, tower, column in zip(self.tables, self.towers, features)
        ]
        joined = tf.concat([*branches, self.dense_tower(features[-1])], axis=1)
        return {"scores": tf.sigmoid(tf.squeeze(self.top(joined), axis=1) / 2)}

    def signatures(self) -> dict[str, tf.types.experimental.GenericFunction]:
        return {"serving_default": self.score.get_concrete_function()}

    @staticmethod
    def methods() -> dict[str, str]:
        return {}

    @staticmethod
    def sample(rows: int = SAMPLE_ITEMS) -> dict[str, np.ndarray]:
        return ranker.requests(np.random.default_rng(42), rows)
