# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Model versions that hosts copy from each other: one offers a version to one reader, which checks every file."""
