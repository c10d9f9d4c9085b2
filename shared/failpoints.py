"""Places where a test may kill the process, to prove that nothing is lost or doubled there.

Nothing happens unless the environment names one: `FAILPOINT=after_commit` kills at the first pass,
`FAILPOINT=after_commit:3` at the third. The kill is SIGKILL: no clean-up runs, as in a power cut.
"""

import os
import signal
from typing import Final

_NAME, _, _COUNT = os.environ.get("FAILPOINT", "").partition(":")
_KILL_AT: Final = int(_COUNT or 1)
_passed = 0


def failpoint(name: str) -> None:
    """Pass a named place; die there if the environment says so."""
    global _passed  # noqa: PLW0603 - a count of the whole process
    if name != _NAME:
        return
    _passed += 1
    if _passed == _KILL_AT:
        os.kill(os.getpid(), signal.SIGKILL)
