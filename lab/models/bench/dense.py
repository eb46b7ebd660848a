# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A dense model whose batches pay: one row is a matrix times a vector, many rows are a matrix times a matrix.

Its weights are larger than a core's share of the last-level cache, so a row on its own waits for memory, and more rows
use what has come. They are made from a seed when the model is loaded: a few kB on disk, but WEIGHTS_MB in memory.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

FEATURES = 64
NARROW, WIDE = 1536, 3072
CLASSES = 8
LAYERS = ((FEATURES, NARROW), (NARROW, WIDE), (WIDE, NARROW), (NARROW, CLASSES))
# Two matrices of 18 MiB. A core of a server has 1 to 4 MB of the last-level cache to itself, and 32 MB if it is alone.
WEIGHTS_MB = sum(rows * columns for rows, columns in LAYERS) * 4 // 2**20
SAMPLE_ROWS = 3


class Weights(tf.saved_model.experimental.TrackableResource):
    """Fills variables that are saved empty; the loader runs it after it has restored them."""

    def __init__(self, variables: list[tf.Variable], seed: int) -> None:
        super().__init__()
        self._variables = variables
        self._seed = seed

    def _create_resource(self) -> tf.Tensor:
        return tf.constant(0)

    def _initialize(self) -> None:
        for layer, ((rows, columns), variable) in enumerate(zip(LAYERS, self._variables)):
            limit = np.sqrt(6 / rows)  # He initialisation: keeps the signal's size through ReLU layers
            # Uniform numbers come from the generator's bits alone, so they are the same on every CPU.
            values = tf.random.stateless_uniform(
                [rows, columns], [self._seed, layer], -limit, limit, alg=tf.random.Algorithm.PHILOX
            )
            variable.assign(values)


class Dense(tf.Module):
    """Versions differ in their seed, so in their weights and every score."""

    def __init__(self, version: int) -> None:
        super().__init__()
        empty = tf.zeros([0, 0])
        self.layers = [tf.Variable(empty, shape=tf.TensorShape([None, None])) for _ in LAYERS]
        self.weights = Weights(self.layers, 3000 + version)

    @staticmethod
    def train() -> str:
        return f"{WEIGHTS_MB} MiB of random weights, made at load"

    @tf.function(input_signature=[tf.TensorSpec([None, FEATURES], tf.float32, name="x")])
    def score(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        for size, weights in zip(LAYERS[:-1], self.layers):
            x = tf.nn.relu(tf.matmul(x, tf.ensure_shape(weights, size)))
        return {"scores": tf.matmul(x, tf.ensure_shape(self.layers[-1], LAYERS[-1]))}

    def signatures(self) -> dict[str, tf.types.experimental.GenericFunction]:
        return {"serving_default": self.score.get_concrete_function()}

    @staticmethod
    def methods() -> dict[str, str]:
        return {}

    @staticmethod
    def sample(rows: int = SAMPLE_ROWS) -> dict[str, np.ndarray]:
        # 64ths are exact in single precision, so that JSON carries exactly what the server computes on.
        x = np.random.default_rng(42).integers(-64, 65, (rows, FEATURES)) / 64
        return {"x": x.astype(np.float32)}
