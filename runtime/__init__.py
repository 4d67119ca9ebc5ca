"""The process that runs a tree: boot, signals, shutdown in order, an exit code that is true.

`run` is the main process of a bot; `open_system` and `run_async` are the same tree inside a
larger trio program or a test, without signals and without printing.
"""

from ringfence.runtime.exits import ExitCode
from ringfence.runtime.main import run
from ringfence.runtime.observe.log import LogOptions
from ringfence.runtime.system import System, open_system, run_async

__all__ = ["ExitCode", "LogOptions", "System", "open_system", "run", "run_async"]
