# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""One benchmark of an instance: its requests, its stages, its document and the pages made of it."""
