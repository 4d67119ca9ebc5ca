"""What an idle actor weighs: the bytes that Python allocated (tracemalloc), not resident pages."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Awaitable, Callable


async def kib_each(actors: int, start: Callable[[], Awaitable[object]]) -> float:
    """Return the KiB that each of the actors started by `start` holds."""
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        await start()
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return (after - before) / actors / 1024
