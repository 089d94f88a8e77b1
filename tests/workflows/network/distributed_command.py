"""Run a labelkit command whose processes print their ids and predict two crops at a time.

python distributed_command.py ARGUMENTS
"""

from __future__ import annotations

import os
import sys

from labelkit.cli.app import main
from labelkit.workflows.network import sharing

if __name__ == "__main__":
    sharing.BATCH = 2
    print(f"process {os.environ['RANK']} is {os.getpid()}", file=sys.stderr, flush=True)
    main(sys.argv[1:])
