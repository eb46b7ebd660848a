# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What is built once and kept: packages, images, models and the Python that runs them."""
