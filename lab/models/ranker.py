# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A wide ranking model in the shape of online recommenders: many independent branches that meet at the end.

The branches have no edge between them, so the runtime may run them side by side on its inter-op threads; one
branch alone is too small to gain from many intra-op threads. That is what makes the split of threads measurable.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

# One embedding table and one tower for each; ids are taken modulo the table's size, so any id is legal.
CATEGORIES = ("user_id", "item_id", "category_id", "brand_id", "shop_id", "city_id", "device_id", "hour")
TABLE_ROWS = 4000
EMBEDDING = 32
TOWER = (512, 320, 64)
DENSE_FEATURES = 16
DENSE_TOWER = (512, 256)
TOP = (192, 1)
STEPS = 40
BATCH = 256
LEARNING_RATE = 0.5
SAMPLE_ITEMS = 5


class Tower(tf.Module):
    """Dense layers with ReLU between them (and after the last one only when asked for)."""

    def __init__(self, rng: np.random.Generator, inputs: int, widths: tuple[int, ...], relu_last: bool = True) -> None:
        super().__init__()
        self.weights, self.biases = [], []
        self._relu_last = relu_last
        for width in widths:
            scale = np.sqrt(2.0 / inputs)  # He initialisation: keeps the signal's size through ReLU layers
            self.weights.append(tf.Variable((rng.standard_normal((inputs, width)) * scale).astype(np.float32)))
            self.biases.append(tf.Variable(tf.zeros([width])))
            inputs = width

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        last = len(self.weights) - 1
        for layer, (weights, bias) in enumerate(zip(self.weights, self.biases)):
            x = tf.nn.bias_add(tf.matmul(x, weights), bias)
            if layer < last or self._relu_last:
                x = tf.nn.relu(x)
        return x


class Ranker(tf.Module):
    """Versions differ in their seed, so in their weights and every score."""

    def __init__(self, version: int) -> None:
        super().__init__()
        self._rng = np.random.default_rng(2000 + version)
        self.tables = [
            tf.Variable(self._rng.normal(0, 1, (TABLE_ROWS, EMBEDDING)).astype(np.float32)) for _ in CATEGORIES
        ]
        self.towers = [Tower(self._rng, EMBEDDING, TOWER) for _ in CATEGORIES]
        self.dense_tower = Tower(self._rng, DENSE_FEATURES, DENSE_TOWER)
        joined = len(CATEGORIES) * TOWER[-1] + DENSE_TOWER[-1]
        self.top = Tower(self._rng, joined, TOP, relu_last=False)

    def _logits(self, ids: list[tf.Tensor], dense: tf.Tensor) -> tf.Tensor:
        branches = [
            tower(tf.gather(table, tf.math.floormod(column, TABLE_ROWS)))
            for table, tower, column in zip(self.tables, self.towers, ids)
        ]
        return tf.squeeze(self.top(tf.concat([*branches, self.dense_tower(dense)], axis=1)), axis=1) / 2.0

    @tf.function
    def _step(self, ids: list[tf.Tensor], dense: tf.Tensor, clicked: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=clicked, logits=self._logits(ids, dense))
            loss = tf.reduce_mean(losses)
        # Only the top is trained: the towers stay random features, which is enough to learn the synthetic clicks.
        for variable, gradient in zip(self.top.trainable_variables, tape.gradient(loss, self.top.trainable_variables)):
            variable.assign_sub(LEARNING_RATE / BATCH * gradient)
        return loss

    def train(self) -> str:
        """Train in place; returns the last loss, in words."""
        loss = None
        for _ in range(STEPS):
            items = requests(self._rng, BATCH)
            clicked = (items["dense"][:, 0] > 0).astype(np.float32)
            ids = [tf.constant(items[name]) for name in CATEGORIES]
            loss = self._step(ids, tf.constant(items["dense"]), tf.constant(clicked))
        return f"loss {float(loss):.3f}"

    @tf.function(
        input_signature=[tf.TensorSpec([None], tf.int64, name=name) for name in CATEGORIES]
        + [tf.TensorSpec([None, DENSE_FEATURES], tf.float32, name="dense")]
    )
    def score(self, *features: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"scores": tf.sigmoid(self._logits(list(features[:-1]), features[-1]))}

    def signatures(self) -> dict[str, tf.types.experimental.GenericFunction]:
        return {"serving_default": self.score.get_concrete_function()}

    @staticmethod
    def methods() -> dict[str, str]:
        return {}

    @staticmethod
    def sample() -> dict[str, np.ndarray]:
        return requests(np.random.default_rng(42), SAMPLE_ITEMS)


def requests(rng: np.random.Generator, items: int) -> dict[str, np.ndarray]:
    """Random items to be ranked: one id per category (int64) and DENSE_FEATURES floats each."""
    ids = {name: rng.integers(0, 1_000_000, items) for name in CATEGORIES}
    # 64ths are exact in single precision, so that JSON carries exactly what the server computes on.
    dense = np.round(rng.normal(0, 1, (items, DENSE_FEATURES)) * 64) / 64
    return {**ids, "dense": dense.astype(np.float32)}
