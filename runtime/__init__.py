"""The process that runs a tree."""

from ringfence.runtime.system import System, open_system, run_async

__all__ = ["System", "open_system", "run_async"]
