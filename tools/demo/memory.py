"""How much memory processes take, from `/proc`."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True)
class Memory:
    """Bytes. Of a server with several processes their shares together, without a peak."""

    now: int
    peak: int | None


def memory_of(pid: int, apart: Collection[int] = ()) -> Memory | None:
    """The memory of a process and all its children but those counted `apart`; None where the system does not tell."""
    tree = [pid, *descendants(pid, apart)]
    shares = [share for process in tree if (share := _share(process)) is not None]
    if not shares:
        return None
    return Memory(sum(shares), _kilobytes(_PROC / str(pid) / "status", "VmHWM") if len(tree) == 1 else None)


def descendants(pid: int, apart: Collection[int] = ()) -> list[int]:
    """The children of a process, theirs, and so on, without those that are counted `apart`."""
    try:
        text = "".join(file.read_text() for file in (_PROC / str(pid) / "task").glob("*/children"))
    except OSError:
        return []
    children = [child for child in map(int, text.split()) if child not in apart]
    return [one for child in children for one in (child, *descendants(child, apart))]


def _share(pid: int) -> int | None:
    """Pages that several processes share are counted in parts, where the system lets us see that."""
    folder = _PROC / str(pid)
    proportional = _kilobytes(folder / "smaps_rollup", "Pss")
    return proportional if proportional is not None else _kilobytes(folder / "status", "VmRSS")


def _kilobytes(file: Path, name: str) -> int | None:
    try:
        match = re.search(rf"^{name}:\s+(\d+) kB$", file.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(match.group(1)) * 1024 if match else None
