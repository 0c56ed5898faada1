"""The client by itself: its folder, copied, needs httpx and nothing of ours."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_LOADED = (
    "import json, sys; sys.path.insert(0, sys.argv[1]); import qunce.client;"
    " print(json.dumps([qunce.client.__file__, sorted(sys.modules)]))"
)
_ROOMS = {"connectors", "ingest", "store", "metrics", "supervision", "dashboard", "simulators", "deploy"}
_HEAVY = {"fastapi", "starlette", "psycopg", "nats", "pandas", "dash", "uvicorn", "pydantic", "pyarrow"}


def test_the_folder_can_be_copied_and_used(tmp_path: Path) -> None:
    shutil.copytree(_ROOT / "qunce" / "client", tmp_path / "qunce" / "client")
    (tmp_path / "qunce" / "__init__.py").touch()  # else the installed qunce would be preferred
    done = subprocess.run(
        [sys.executable, "-c", _LOADED, tmp_path], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    file, loaded = json.loads(done.stdout)
    assert Path(file).is_relative_to(tmp_path)
    ours = {name for name in loaded if name.partition(".")[0] == "qunce"}
    assert {name for name in ours if not name.startswith("qunce.client")} == {"qunce"}
    assert not (_ROOMS | _HEAVY) & {name.partition(".")[0] for name in loaded}
