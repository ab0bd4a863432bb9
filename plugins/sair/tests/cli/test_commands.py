"""The sub-commands together."""

from __future__ import annotations

import subprocess
import sys


def test_the_commands_import_nothing_heavy() -> None:
    code = "import sys, implicitkit_sair.cli; print(sorted({'torch', 'open_clip', 'timm', 'PIL'} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"
