"""How long the command line takes to say something, in a new process: medians over rounds in which all take their turn.

    python tests/benchmarks/start_up.py [ROUNDS] [--cold]

With --cold the system forgets the files before each (root alone may say so), so that they come from the disk. The last
way is Python importing torch, which every command pays that looks at strategies.
"""

import os
import subprocess
import sys
from pathlib import Path

from timing import medians, show

COMMANDS = {
    "guideplug --help": ["-m", "guideplug", "--help"],
    "guideplug --version": ["-m", "guideplug", "--version"],
    "TAB after --guider c": ["-m", "guideplug"],
    "guideplug plugins list": ["-m", "guideplug", "plugins", "list"],
    "import torch": ["-c", "import torch"],
}
TAB = {"_GUIDEPLUG_COMPLETE": "bash_complete", "COMP_LINE_TO_POINT": "guideplug run --guider c"}


def started(name: str, arguments: list[str], cold: bool) -> None:
    """Run one in a new process."""
    if cold:
        os.sync()
        Path("/proc/sys/vm/drop_caches").write_text("3")
    environment = {**os.environ, **(TAB if name.startswith("TAB") else {})}
    subprocess.run([sys.executable, *arguments], env=environment, stdout=subprocess.DEVNULL, check=True)


def main() -> None:
    numbers = [int(argument) for argument in sys.argv[1:] if argument.isdigit()]
    cold = "--cold" in sys.argv
    ways = {
        name: (lambda name=name, arguments=arguments: started(name, arguments, cold))
        for name, arguments in COMMANDS.items()
    }
    seconds = medians(numbers[0] if numbers else 10, ways)
    show(f"From a new process{', files not in memory' if cold else ''}", seconds, "import torch")


if __name__ == "__main__":
    main()
