# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A model whose batches do not pay: each row brings enough work of its own.

A row is a sequence of tokens, and every layer multiplies all positions at once. One row is thus a matrix times a matrix
already, with weights that stay in the core's own cache: ten rows take ten times as long as one.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

POSITIONS = 64
TOKENS = 2000  # ids are taken modulo the table's size, so any id is legal
WIDTH = 256  # a layer's weights are 256 KiB, less than the second-level cache of any server's core
LAYERS = 12
SAMPLE_ROWS = 3


class Sequence(tf.Module):
    """Versions differ in their seed, so in their weights and every score."""

    def __init__(self, version: int) -> None:
        super().__init__()
        rng = np.random.default_rng(4000 + version)
        scale = np.sqrt(2 / WIDTH)  # He initialisation: keeps the signal's size through ReLU layers
        self.table = tf.Variable(rng.standard_normal((TOKENS, WIDTH)).astype(np.float32))
        self.layers = [
            tf.Variable((rng.standard_normal((WIDTH, WIDTH)) * scale).astype(np.float32)) for _ in range(LAYERS)
        ]
        self.top = tf.Variable((rng.standard_normal(WIDTH) / WIDTH).astype(np.float32))

    @staticmethod
    def train() -> str:
        return "random weights"

    @tf.function(input_signature=[tf.TensorSpec([None, POSITIONS], tf.int64, name="tokens")])
    def score(self, tokens: tf.Tensor) -> dict[str, tf.Tensor]:
        x = tf.gather(self.table, tf.math.floormod(tf.reshape(tokens, [-1]), TOKENS))
        for weights in self.layers:
            x = tf.nn.relu(tf.matmul(x, weights))
        pooled = tf.reduce_mean(tf.reshape(x, [-1, POSITIONS, WIDTH]), axis=1)
        return {"scores": tf.sigmoid(tf.linalg.matvec(pooled, self.top))}

    def signatures(self) -> dict[str, tf.types.experimental.GenericFunction]:
        return {"serving_default": self.score.get_concrete_function()}

    @staticmethod
    def methods() -> dict[str, str]:
        return {}

    @staticmethod
    def sample(rows: int = SAMPLE_ROWS) -> dict[str, np.ndarray]:
        return {"tokens": np.random.default_rng(42).integers(0, 10_000, (rows, POSITIONS))}
