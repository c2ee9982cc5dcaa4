"""What an import costs: slow, heavy and broken modules are named."""

from pathlib import Path

import pytest
import torch
from defects import broken

from guideplug.testing.imports import IMPORT, imported

torch.set_num_threads(1)


@pytest.mark.slow
def test_what_an_import_costs(tmp_path: Path) -> None:
    sources = {
        "light": "import guideplug\n",
        "heavy": "import matplotlib.pyplot\n",
        "slow": "import time\nend = time.process_time() + 0.7\nwhile time.process_time() < end:\n    pass\n",
        "gone": "import nothing_of_this_name\n",
        "ends": "import os\nos._exit(3)\n",
    }
    for name, source in sources.items():
        (tmp_path / f"{name}.py").write_text(source)
    found = imported({name: str(tmp_path / f"{name}.py") for name in sources})
    laws = {name: list(broken(IMPORT, cost)) for name, cost in found.items()}
    assert laws["light"] == []
    assert "its import brings in nothing slow" in laws["heavy"]
    assert laws["slow"] == ["its import takes less than 0.5 s"]
    assert laws["gone"] == laws["ends"] == ["it can be imported by itself"]
    assert "nothing_of_this_name" in found["gone"].error
