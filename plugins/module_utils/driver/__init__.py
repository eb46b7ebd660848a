# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""NVIDIA's driver on a host: what is installed, what runs, and the steps to another one."""
