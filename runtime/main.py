"""The main process of a bot: run a tree until it ends, and return an exit code that is true.

    raise SystemExit(run(desk))

It checks the tree, boots it, logs its events, answers signals, tells systemd, notices a blocked
event loop, and prints a report a person can read if the run did not end well. What it installs
for the process (signal handlers, the set-up of the log) it takes back at the end.
"""

from __future__ import annotations

import sys
from collections import deque
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

import trio

from ringfence.actors.errors import GaveUpWhy, Severity, SupervisorFailed
from ringfence.actors.events import ActorEnded, ActorStartFailed, SystemStarted, SystemStopping
from ringfence.actors.kernel import Kernel
from ringfence.actors.lifecycle import Failed
from ringfence.runtime.dump import dump, in_the_way
from ringfence.runtime.exits import Ending, ExitCode, holds, is_interrupt, not_clean, severity_of
from ringfence.runtime.notify import Notifier
from ringfence.runtime.observe.log import EventLog, LogOptions
from ringfence.runtime.options import Options, problems_of
from ringfence.runtime.report import report
from ringfence.runtime.signals import Signals
from ringfence.runtime.stall import StallWatch
from ringfence.runtime.system import System
from ringfence.runtime.tracebacks import described, problems_text, running_text
from ringfence.supervisors.incident import ChildStopped, IncidentRecorded, Outcome
from ringfence.supervisors.tree import check

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType

    from ringfence.actors.events import Event
    from ringfence.runtime.options import Emergency
    from ringfence.supervisors.incident import StopProof
    from ringfence.supervisors.spec import SupervisorSpec

EMERGENCY_S: Final = 30.0
UNCLEAN_KEPT_MAX: Final = 100
LOG: Final = LogOptions()


def run(
    tree: SupervisorSpec,
    *,
    emergency: Emergency | None = None,
    emergency_s: float = EMERGENCY_S,
    for_s: float | None = None,
    log: LogOptions | None = LOG,
    listen: Sequence[Callable[[Event], None]] = (),
) -> ExitCode:
    """Run ``tree`` as the main process until it ends; print why if that was not well.

    The first SIGINT or SIGTERM stops the tree in order, a second one cancels everything now,
    SIGHUP writes the tree and the stacks of all tasks to stderr.

    Args:
      tree: what to run.
      emergency: an async function, called once after a failure of severity CRITICAL, before the
        tree is stopped; it closes positions and returns whether it has *verified* that there are
        none. ``None``: no such failure ends verified flat.
      emergency_s: seconds it may take. Default 30.
      for_s: stop in order after this many seconds. Default ``None``: run until told to stop.
      log: how to log to stderr; ``None``: not at all.
      listen: listeners of the event stream, from the first event of the boot on.

    Returns:
      The exit code, also as a number: 0 stopped as asked and clean; 1 a failure ended it; 2 the
      tree or an option is wrong, nothing was started; 3 emergency shutdown, verified flat; 4
      emergency shutdown, not verified flat; 130 forced.

    Raises:
      RuntimeError: it is called inside a running trio program: `run_async` is for that.
    """
    if trio.lowlevel.in_trio_run():
        msg = "use `await run_async(tree)` inside a running trio program"
        raise RuntimeError(msg)
    options = Options(
        emergency=emergency, emergency_s=emergency_s, for_s=for_s, log=log, listen=listen
    )
    if _refuses(tree, options):
        return ExitCode.REFUSED
    try:
        ending = trio.run(_Main(tree, options).run)
    except KeyboardInterrupt:  # before the handlers were there, or after they were gone
        return ExitCode.FORCED
    if ending.code is not ExitCode.CLEAN:
        _say(report(ending, tree))
    return ending.code


def _refuses(tree: SupervisorSpec, options: Options) -> bool:
    """Tell all that is wrong with the tree and the options; say whether there is anything."""
    found = {"the tree": check(tree), "the options": list(problems_of(options))}
    where = " and ".join(what for what, problems in found.items() if problems)
    if where:
        _say(problems_text([one for problems in found.values() for one in problems], where))
    return bool(where)


def _say(text: str) -> None:
    """Write to stderr, if there is one that takes it."""
    try:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
    except (AttributeError, OSError, ValueError):
        return


def _busy(frame: FrameType | None) -> None:
    _say(f"running now\n{running_text(frame)}")


class _Main:
    """One run: what happens around the system, and what is known of its end."""

    def __init__(self, tree: SupervisorSpec, options: Options) -> None:
        self._tree = tree
        self._options = options
        self._system: System
        self._began_s = 0.0
        self._forced = False
        self._reason: str | None = None
        self._in_the_way: tuple[str, ...] = ()
        self._is_final = True  # what stops now stops for good: so in the boot, and at the end
        self._unclean: deque[StopProof] = deque(maxlen=UNCLEAN_KEPT_MAX)
        self._interrupts: deque[tuple[str, BaseException]] = deque(maxlen=UNCLEAN_KEPT_MAX)
        self._emergency: trio.CancelScope | None = None
        self._flat = False
        self._flat_why = ""
        self._emergency_error: Exception | None = None

    async def run(self) -> Ending:
        self._began_s = trio.current_time()
        self._system = System(self._tree, Kernel())
        self._system.emergency = self._go_flat
        with ExitStack() as around:
            self._listen(around)
            around.enter_context(StallWatch(self._system.events, self._tree.id))
            around.enter_context(Signals(self._stop, self._force, self._dump, _busy))
            error = await self._run_system(around)
            halted = await self._critical(error)
        return Ending(
            path=self._tree.id,
            reason=self._reason,
            error=error,
            halted=halted,
            flat=self._flat,
            flat_why=self._flat_why,
            emergency_error=self._emergency_error,
            forced=self._forced,
            in_the_way=self._in_the_way,
            unclean=tuple(self._unclean),
            interrupts=tuple(self._interrupts),
        )

    def _listen(self, around: ExitStack) -> None:
        listen = self._system.events.listen
        listen(self._note)
        for listener in self._options.listen:
            listen(listener)
        if self._options.log is not None:
            listen(around.enter_context(EventLog(self._options.log)))

    async def _run_system(self, around: ExitStack) -> BaseException | None:
        """Run the system to its end; return what it failed with."""
        notifier = Notifier()
        around.callback(notifier.close)
        self._system.events.listen(notifier)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(notifier.feed_watchdog)
            nursery.start_soon(self._stop_in_time)
            try:
                await self._system.run()
            except BaseException as error:
                if holds(error, trio.Cancelled):
                    raise
                return error
            finally:
                nursery.cancel_scope.cancel()
        return None

    def _note(self, event: Event) -> None:
        """Keep what the report needs: how the final stop went, and who ended everything."""
        match event:
            case SystemStarted() if self._reason is None and not self._interrupts:
                self._is_final = False
                self._unclean.clear()
            case SystemStopping(reason=reason):
                self._reason = reason
                self._begin_final_stop()
            case IncidentRecorded(path=path, incident=incident) if path == self._tree.id:
                if incident.outcome in (Outcome.GAVE_UP, Outcome.FINISHED):
                    self._begin_final_stop()
            case ChildStopped(proof=proof) if self._is_final and not_clean(proof):
                self._unclean.append(proof)
            case ActorEnded(path=path, exit=Failed(error)) if is_interrupt(error):
                self._note_interrupt(path, error)
            case ActorStartFailed(path=path, error=error) if is_interrupt(error):
                self._note_interrupt(path, error)
            case _:
                pass

    def _begin_final_stop(self) -> None:
        if not self._is_final:
            self._is_final = True
            self._unclean.clear()

    def _note_interrupt(self, path: str, error: BaseException) -> None:
        if self._reason is None:  # else it is a failure while stopping, and did not end anything
            self._interrupts.append((path, error))
            self._begin_final_stop()

    async def _stop_in_time(self) -> None:
        if self._options.for_s is not None:
            await self._system.wait_started()
            await trio.sleep(self._options.for_s)
            self._system.stop(f"{self._options.for_s:g} s are over")

    # -- signals -------------------------------------------------------------------------------

    def _stop(self, name: str) -> None:
        # In an emergency the stop follows anyway, and must not come before the bot is flat.
        if self._system.halted is None:
            self._system.stop(name)

    def _force(self) -> None:
        if not self._forced:
            self._in_the_way = tuple(in_the_way(self._system))
        self._forced = True
        self._system.cancel()
        if self._emergency is not None:
            self._emergency.cancel()

    def _dump(self) -> None:
        _say(dump(self._system, self._began_s))

    # -- emergency -----------------------------------------------------------------------------

    async def _critical(self, error: BaseException | None) -> SupervisorFailed | None:
        """Return the CRITICAL failure there was, after the emergency path has been taken for it."""
        halted = self._system.halted
        if halted is None and isinstance(error, Exception):
            if severity_of(error) is not Severity.CRITICAL:
                return None
            # It came while starting or stopping, when no supervisor could ask for the emergency.
            halted = (
                error
                if isinstance(error, SupervisorFailed)
                else SupervisorFailed(self._tree.id, GaveUpWhy.SHUTDOWN, [error], Severity.CRITICAL)
            )
        if halted is not None and self._emergency is None:
            await self._go_flat(halted)
        return halted

    async def _go_flat(self, error: SupervisorFailed) -> None:
        """Take the emergency path once, bounded; it goes on if the tree ends meanwhile."""
        emergency, limit_s = self._options.emergency, self._options.emergency_s
        deadline_s = trio.current_time() + limit_s
        self._emergency = trio.CancelScope(shield=True, deadline=deadline_s)
        if emergency is None:
            self._flat_why = "no emergency path was given to run()"
            return
        try:
            with self._emergency:
                self._flat = await emergency(error) is True
                if not self._flat:
                    self._flat_why = "the emergency path could not verify it"
        except Exception as failure:  # noqa: BLE001 - told in the report; the exit code says 4
            self._emergency_error = failure
            self._flat_why = f"the emergency path failed: {described(failure)}"
        if self._emergency.cancelled_caught:
            late = f"the emergency path was not done after {limit_s:g} s"
            self._flat_why = "it was forced to end" if self._forced else late
