"""Run a command with servers that it can't start itself: python -m tests.servers COMMAND ...

Another Python than this one may have no wheel of PostgreSQL. The command finds the servers by
PERSIST_TEST_POSTGRESQL and PERSIST_TEST_VALKEY; they stop when it has ended.
"""

from __future__ import annotations

import subprocess
import sys

from tests import servers

servers.postgresql()
servers.valkey()
sys.exit(subprocess.run(sys.argv[1:], check=False).returncode)
