# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Artifacts that are built once and kept: packages, images, models and the Python that runs them."""
