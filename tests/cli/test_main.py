"""`--help` and `--version`."""

import subprocess
import sys
from typing import Any

# What must be quick

COMMANDS = ["", "run", "sample", "explain", "plugins", "plugins list", "plugins show", "plugins check", "completion",
            "store", "store list",
            "store verify", "store prune"]  # fmt: skip


def test_help_and_version_do_not_import_torch() -> None:
    program = (
        "import sys\nfrom click.testing import CliRunner\nfrom guideplug.cli import main\n"
        f"for command in {COMMANDS!r}:\n"
        "    for flag in ('--help', '-h'):\n"
        "        result = CliRunner().invoke(main, [*command.split(), flag])\n"
        "        assert result.exit_code == 0 and 'Usage:' in result.stdout, (command, result.output)\n"
        "result = CliRunner().invoke(main, ['--version'])\n"
        "assert result.stdout.startswith('guideplug, version '), result.output\n"
        "heavy = {'torch', 'numpy', 'matplotlib', 'rich', 'sklearn', 'ot'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_without_a_command_the_help_is_shown(cli: Any) -> None:
    said = cli(code=None)
    assert "Usage:" in said.output
    for command in ("run", "sample", "plugins", "explain", "store"):
        assert command in said.output
