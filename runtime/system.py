"""Run a tree: boot it, keep it, stop it in order, and tell the truth about how it ended.

It installs no signal handlers and prints nothing: that is `main.py` of this package. It is
the part to use in tests and inside a larger trio program:

    async with open_system(desk) as system:
        await system.ref(PORTFOLIO).ask(PositionOf("BTC"), within_s=1.0)
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar, cast

import trio

from ringfence.actors.address import Name
from ringfence.actors.events import SystemStarted, SystemStopped, SystemStopping
from ringfence.actors.kernel import Kernel
from ringfence.actors.lifecycle import KILLED, SHUTDOWN, Failed, Killed
from ringfence.supervisors.child import live_once
from ringfence.supervisors.control import SupervisorRef
from ringfence.supervisors.policy import DEFAULT
from ringfence.supervisors.supervisor import SupervisorLife
from ringfence.supervisors.tree import require_sound

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from ringfence.actors.address import Ref
    from ringfence.actors.errors import SupervisorFailed
    from ringfence.actors.events import Event, EventStream
    from ringfence.supervisors.child import Life
    from ringfence.supervisors.spec import SupervisorSpec

M = TypeVar("M")


class System:
    """A running tree. Made by `open_system` and `run_async`."""

    def __init__(self, tree: SupervisorSpec, kernel: Kernel) -> None:
        self.tree = tree
        self.kernel = kernel
        self.emergency: Callable[[SupervisorFailed], Awaitable[None]] | None = None
        self.halted: SupervisorFailed | None = None
        self._halt = trio.Event()
        self._started = trio.Event()
        self._forced_before = 0
        self._root = SupervisorLife(
            tree,
            tree.id,
            kernel,
            policy=DEFAULT,
            host=self,
            on_up=self._up,
            on_end=self._ended,
        )

    # -- for users -----------------------------------------------------------------------------

    @property
    def events(self) -> EventStream:
        """The stream of all lifecycle events."""
        return self.kernel.events

    def ref(self, name: Name[M]) -> Ref[M]:
        """Return the handle on an actor by its typed name."""
        given: object = name
        if not isinstance(given, Name):
            msg = f"{name!r} is no Name: write Name[the messages it takes]({name!r})"
            raise TypeError(msg)
        return cast("Ref[M]", self.kernel.ref(name.path))

    def supervisor(self, path: str | None = None) -> SupervisorRef:
        """Return the handle on a supervisor by its path; default: the root."""
        return SupervisorRef(self.kernel, path or self.tree.id)

    @property
    def failed(self) -> bool:
        """Whether the tree has ended with a failure."""
        return isinstance(self._root.exit, Failed)

    def stop(self, reason: str = "asked to") -> None:
        """Stop the tree in reverse start order. Returns at once; the first reason stands."""
        if self._root.leaving is None and self._root.exit is None:
            self.kernel.events.emit(
                SystemStopping(at_s=trio.current_time(), path=self.tree.id, reason=reason)
            )
            self._forced_before = self.kernel.forced_stops
            self._root.leave(SHUTDOWN)

    def cancel(self) -> None:
        """Cancel everything now, without order and without ``stopping``."""
        self._root.condemn(KILLED)

    # -- the life of the tree ------------------------------------------------------------------

    def halt(self, error: SupervisorFailed) -> None:
        """See `Host.halt`."""
        if self.halted is None:
            self.halted = error
            self._halt.set()

    def _up(self, _life: Life) -> None:
        self.kernel.events.emit(SystemStarted(at_s=trio.current_time(), path=self.tree.id))
        self._started.set()

    def _ended(self, _life: Life) -> None:
        self._started.set()

    async def wait_started(self) -> None:
        """Wait until the whole tree is up, or has failed to come up."""
        await self._started.wait()

    async def run(self) -> None:
        """Run the tree to its end. Raises what it failed with; lets `Cancelled` through.

        The tree itself is shielded: a cancellation from outside becomes an orderly stop, bounded
        by the children's own ``shutdown_s``, and goes on when the tree has ended. If that stop
        failed too, both come out as one group, and the cancelled scope takes its part of it.
        """
        try:
            await self._run_tree()
        except BaseException as cancelled:
            error = self._end()
            if error is not None:
                both = [error, cancelled]
                raise BaseExceptionGroup(f"{self.tree.id} was cancelled", both) from None
            raise
        error = self._end()
        if error is not None:
            raise error

    async def _run_tree(self) -> None:
        async with trio.open_nursery() as guard:
            guard.start_soon(self._stop_when_cancelled)
            with trio.CancelScope(shield=True):
                async with trio.open_nursery() as services:
                    services.start_soon(self.kernel.timers.run)
                    services.start_soon(self._run_emergency)
                    await live_once(self._root)
                    services.cancel_scope.cancel()
            guard.cancel_scope.cancel()

    def _end(self) -> BaseException | None:
        """Close all addresses and say that it is over; return what the tree failed with."""
        exit_ = self._root.exit
        assert exit_ is not None, "the tree has ended"
        for box in self.kernel.boxes.values():
            box.close_with_system()
        forced = self.kernel.forced_stops > self._forced_before
        clean = not (forced or isinstance(exit_, Failed | Killed))
        self.kernel.events.emit(
            SystemStopped(at_s=trio.current_time(), path=self.tree.id, clean=clean)
        )
        return exit_.error if isinstance(exit_, Failed) else None

    async def _stop_when_cancelled(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            self.stop("cancelled from outside")

    async def _run_emergency(self) -> None:
        await self._halt.wait()
        assert self.halted is not None, "somebody asked for it"
        if self.emergency is not None:
            await self.emergency(self.halted)
        self.stop("a failure that must stop the whole system")


@asynccontextmanager
async def open_system(
    tree: SupervisorSpec, *, listen: Sequence[Callable[[Event], None]] = ()
) -> AsyncIterator[System]:
    """Run ``tree`` beside the block; stop it in order when the block is left.

    The block starts when the whole tree is up. If only the tree fails, the block is cancelled and
    the tree's own exception group comes out; if the block fails too, trio's group of both does.

    Args:
      tree: what to run.
      listen: listeners of the event stream, from the first event of the boot on.

    Raises:
      SpecError: the tree has problems; nothing was started.
    """
    require_sound(tree)
    system = _system(tree, listen)
    failure: list[BaseException] = []
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_run_and_end, system, nursery.cancel_scope, failure)
            await system.wait_started()
            await trio.lowlevel.checkpoint()
            if system.failed:
                await trio.sleep_forever()  # its failure is on the way, and cancels this
            yield system
            system.stop("the block is left")
    except BaseExceptionGroup as group:
        if len(group.exceptions) == 1 and group.exceptions[0] in failure:
            raise group.exceptions[0] from None
        raise


async def _run_and_end(
    system: System, block: trio.CancelScope, failure: list[BaseException]
) -> None:
    try:
        await system.run()
    except BaseException as error:
        failure.append(error)
        raise
    block.cancel()


async def run_async(
    tree: SupervisorSpec, *, listen: Sequence[Callable[[Event], None]] = ()
) -> None:
    """Run ``tree`` until it ends by itself, fails, or is cancelled from outside.

    Args:
      tree: what to run.
      listen: listeners of the event stream, from the first event of the boot on.

    Raises:
      SpecError: the tree has problems; nothing was started.
      BaseExceptionGroup: the tree failed; see `SupervisorFailed`.
    """
    require_sound(tree)
    await _system(tree, listen).run()


def _system(tree: SupervisorSpec, listen: Sequence[Callable[[Event], None]]) -> System:
    if callable(listen):
        msg = f"listen={listen!r}: it takes a sequence of functions; write listen=(show,)"
        raise TypeError(msg)
    system = System(tree, Kernel())
    for listener in listen:
        system.events.listen(listener)
    return system
