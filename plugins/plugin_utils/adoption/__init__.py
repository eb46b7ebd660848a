# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Servers that run already: what they really read, what is wrong with it, and the wishes that equal them."""
