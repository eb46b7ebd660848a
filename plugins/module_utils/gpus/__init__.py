# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Whether GPUs are fit to serve, and the settings they are given."""
