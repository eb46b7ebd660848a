# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Tables of facts about the server, its runtimes and drivers, and the function that reads them."""
