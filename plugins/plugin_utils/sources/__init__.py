# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Models that the controller fetches from an MLflow registry or from a bucket, before it sends them to hosts."""
