"""A client of the open interface, for a lead unit's own programs (docs/guide.md).

    from qunce.client import Client, Reading

    with Client("http://127.0.0.1:8080", key, spool=Path("/var/lib/ours/spool")) as qunce:
        qunce.send([Reading("CNC-0012.produced", datetime.now(UTC), 1200)])
        qunce.flush()

Needs Python 3.11 and httpx; pyarrow, where it is installed, makes bulk cheaper. It imports nothing
else of the platform: the folder `qunce/client` may be copied and used by itself.
"""

from qunce.client.answers import Flushed, Heartbeat, Latest, RowError, SpoolStatus, Verdict
from qunce.client.bodies import Reading
from qunce.client.client import Client
from qunce.client.dead import DeadLetter
from qunce.client.errors import Problem, SpoolFull, SpoolInUse, Unreachable
from qunce.client.retries import Retries

__all__ = [
    "Client",
    "DeadLetter",
    "Flushed",
    "Heartbeat",
    "Latest",
    "Problem",
    "Reading",
    "Retries",
    "RowError",
    "SpoolFull",
    "SpoolInUse",
    "SpoolStatus",
    "Unreachable",
    "Verdict",
]
