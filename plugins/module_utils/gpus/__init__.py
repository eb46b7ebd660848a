# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The health of GPUs, and their settings."""
