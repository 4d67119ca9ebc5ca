"""One incarnation of an actor, from its construction to its end: the trio shell of an actor.

A task of the supervisor's runs `live` inside a cancel scope and then, outside of whatever
cancelled that, `wind_up` (see `inhabit`). The supervisor is told two things: ``on_up`` (started)
and ``on_end`` (ended, all tasks closed, with an `Exit`). Whatever happens becomes the exit.

What runs where: handlers run in that task, one at a time. Background tasks run in a
nursery of their own, held open by a *keeper* task that exists only if the actor ever starts one
(a nursery costs more than a whole restart). The incarnation has one cancel scope; whoever cancels
it leaves a verdict first, so a `Cancelled` that comes out without one is a stray (see
`StrayCancellation`) and not a stop.

How handlers are run is one seam, `Incarnation._drain`: a dispatcher shared by many actors could
replace it without touching supervision.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import trio
from trio.lowlevel import enable_ki_protection

from ringfence.actors.actor import Context, Ignore, Info, attach, detach
from ringfence.actors.background import Background
from ringfence.actors.belongings import Belongings
from ringfence.actors.errors import ActorCrashed, ActorDown, Hung, NoReply, StartTimeout
from ringfence.actors.events import ActorEnded, ActorResumed, ActorStarted, DeadLetterWhy
from ringfence.actors.lifecycle import (
    KILLED,
    NORMAL,
    SHUTDOWN,
    ActorState,
    Exit,
    Failed,
    Killed,
    Trigger,
    move,
    required_wish,
)
from ringfence.actors.message import ENVELOPES, Asking, Latest, PortState, plain
from ringfence.actors.outcomes import (
    cancelled_from_outside,
    merged,
    split_cancelled,
    stack_of,
    stray,
)
from ringfence.actors.pace import next_batch
from ringfence.actors.watchdog import Watchdog

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ringfence.actors.actor import Actor
    from ringfence.actors.kernel import Kernel
    from ringfence.actors.mailbox import Mailbox
    from ringfence.actors.terms import Terms


class Incarnation:
    """One life of one actor."""

    __slots__ = (
        "actor",
        "background",
        "belongings",
        "box",
        "called_off",
        "cancelled",
        "cleanup",
        "cut_off",
        "errors",
        "exit",
        "ignored",
        "info",
        "interrupted",
        "kernel",
        "leaving",
        "number",
        "scope",
        "started_s",
        "state",
        "task",
        "terms",
        "up",
        "verdict",
        "watchdog",
    )

    def __init__(self, actor: Actor[Any], box: Mailbox, number: int, terms: Terms) -> None:
        self.actor = actor
        self.box = box
        self.kernel: Kernel = box.kernel
        self.number = number
        self.terms = terms
        self.state = ActorState.STARTING
        self.up = False
        self.ignored = False
        self.info: object = None
        self.started_s = math.inf
        self.exit: Exit | None = None  # set when ended
        self.called_off = False  # the start is no longer wanted
        self.leaving: Exit | None = None  # set when told to leave, or when it decided to
        self.verdict: BaseException | Killed | None = None  # why the scope was cancelled
        self.cancelled = False  # its grace was over, or it was killed
        self.cut_off: tuple[object] | None = None  # the message a cancellation interrupted
        self.interrupted = False  # its scope has been cancelled
        self.errors: list[BaseException] = []
        self.scope: trio.CancelScope | None = None  # while it lives; shared with a successor
        self.cleanup: trio.CancelScope | None = None
        self.task: trio.lowlevel.Task | None = None
        self.background: Background | None = None
        self.belongings: Belongings | None = None
        self.watchdog: Watchdog | None = None
        if terms.hang_s is not None:
            self.watchdog = Watchdog(self.kernel.timers, terms.hang_s, self._hung)
        attach(actor, Context(self))

    # -- the whole life ------------------------------------------------------------------------

    @enable_ki_protection
    async def live(self, scope: trio.CancelScope) -> None:
        """Start and handle messages until the end. Raises only what cancels ``scope``."""
        self.scope = scope
        self.task = trio.lowlevel.current_task()
        if self.interrupted:  # before it got here
            scope.cancel()
        try:
            if self.up or await self._start():
                await self._drain()
        except Exception as error:  # noqa: BLE001 - it is the exit
            self.errors.append(error)

    @enable_ki_protection
    async def wind_up(self) -> None:
        """Clean up, wait for the background tasks, and report the exit."""
        self._collect_background()
        await self._close()
        self._report()

    def bring_up(self) -> None:
        """Note that the actor is up. Called by the supervisor itself if there is no ``started``."""
        self.state = move(self.state, Trigger.UP)
        self.up = True
        self.started_s = trio.current_time()
        self.box.down_because = None
        events, path = self.kernel.events, self.box.path
        if events.listeners:
            events.emit(ActorStarted(at_s=self.started_s, path=path, incarnation=self.number))

    async def _start(self) -> bool:
        """Run ``started()``; return whether the actor is to run."""
        timer = None
        if self.terms.start_s < math.inf:
            timer = self.kernel.timers.call_at(
                trio.current_time() + self.terms.start_s, self._start_late
            )
        try:
            answer: object = await self.actor.started()
        finally:
            if timer is not None:
                timer.cancel()
        if isinstance(answer, Ignore):
            self.ignored = True
            return False
        if isinstance(answer, Info):
            self.info = answer.value
        elif answer is not None:
            msg = f"started() returned {answer!r}: return IGNORE, Info(value) or nothing"
            raise TypeError(msg)
        if self.verdict is not None:  # condemned too late for `started` to notice
            await self._undo_start()
            return False
        self.bring_up()
        self.terms.on_up(self)
        return True

    def _hung(self, hang_s: float) -> None:
        assert self.task is not None, "a handler runs in it"
        self.condemn(Hung(path=self.box.path, hang_s=hang_s, stack=stack_of(self.task)))

    async def _undo_start(self) -> None:
        """Release what ``started`` acquired although nobody wants it; a kill does not."""
        reason = SHUTDOWN if self.called_off else self._exit_so_far()
        if self.terms.cleans_up and not isinstance(reason, Killed):
            await self._clean_up(reason)

    def _start_late(self) -> None:
        self.condemn(StartTimeout(path=self.box.path, start_s=self.terms.start_s))

    async def _close(self) -> None:
        """Clean up after a start that succeeded, and wait for the background tasks."""
        if self.up:
            self.state = move(self.state, Trigger.LEAVE)
            if self.box.pending or self.terms.cleans_up:
                await self._part(self._exit_so_far())
        if self.background is not None:
            await self.background.close()
            self._collect_background()
        if all(isinstance(error, Exception) for error in self.errors):
            # a wish to exit is not made into an error of the askers: they are about to be stopped
            self.box.refuse_asks(lambda: ActorDown(path=self.box.path, cause=None))

    async def _part(self, reason: Exit) -> None:
        """Tell those who wait for an answer, and let the actor clean up."""
        if isinstance(reason, Failed) and isinstance(reason.error, Exception):
            cause = reason.error
            self.box.refuse_asks(lambda: ActorCrashed(path=self.box.path, cause=cause))
        if self.terms.cleans_up and not isinstance(reason, Killed):
            await self._clean_up(reason)

    async def _clean_up(self, reason: Exit) -> None:
        """Run ``stopping()``, bounded, whoever asked for the end.

        A supervisor's own timer may be due earlier: it counts from the moment it asked.
        """
        deadline_s = trio.current_time() + self.terms.shutdown_s
        self.cleanup = cleanup = trio.CancelScope(shield=True, deadline=deadline_s)
        try:
            with cleanup:
                answer = required_wish(await self.actor.stopping(reason))
                if answer is not None and not isinstance(reason, Failed):
                    self.leaving = answer
        except BaseException as error:  # noqa: BLE001 - sorted out, nothing is dropped
            self.absorb(error)
        self.cancelled = self.cancelled or cleanup.cancelled_caught

    def _exit_so_far(self) -> Exit:
        if self.errors:
            return Failed(merged(self.errors, self.box.path))
        if isinstance(self.verdict, BaseException):
            return Failed(self.verdict)
        if self.verdict is not None or self.cancelled:
            return KILLED
        return self.leaving if self.leaving is not None else NORMAL

    def _report(self) -> None:
        """Say how it ended. Nothing of this incarnation runs any more."""
        if isinstance(self.verdict, BaseException):
            self.errors.insert(0, self.verdict)
            self.verdict = None
        self._release()
        self.exit = self._exit_so_far()
        if self.cut_off is not None:
            self._bury_cut_off(*self.cut_off)
        if self.up:
            self.state = move(self.state, Trigger.CLOSED)
            if self.kernel.events.listeners:
                self.kernel.events.emit(
                    ActorEnded(
                        at_s=trio.current_time(),
                        path=self.box.path,
                        incarnation=self.number,
                        exit=self.exit,
                    )
                )
        else:
            self.state = move(self.state, Trigger.IGNORE if self.ignored else Trigger.ABORT)
        detach(self.actor)
        self.errors = []  # the exit has them; a second path to a traceback keeps frames alive
        self.terms.on_end(self)

    def _bury_cut_off(self, message: object) -> None:
        """Bury the message whose handler was cancelled, with the reason if it was a failure."""
        if isinstance(self.exit, Failed):
            self.box.bury(plain(message), DeadLetterWhy.CRASHED_ON, self.exit.error)
        else:
            self.box.bury(plain(message), DeadLetterWhy.STOPPED, None)

    def _release(self) -> None:
        """End what must not outlive the incarnation."""
        self.box.system = None  # it was told of ends it watched; the next one did not ask
        if self.belongings is not None:
            self.belongings.release()
        if self.watchdog is not None:
            self.watchdog.release()

    # -- being told to end ---------------------------------------------------------------------

    def leave(self, reason: Exit) -> None:
        """Ask it to end after the message in progress. The first reason stands."""
        if self.leaving is None and self.state in (ActorState.STARTING, ActorState.RUNNING):
            self.leaving = reason
            self.box.express = True
            self.box.wake()

    def call_off(self) -> None:
        """End a start that is no longer wanted."""
        self.called_off = True
        self.condemn(KILLED)

    def condemn(self, verdict: BaseException | Killed) -> None:
        """Cancel everything it does, now; ``verdict`` says why. The first one stands."""
        if self.exit is not None:
            return
        if self.verdict is None:
            self.verdict = verdict
        self.cancelled = True
        self._interrupt()
        if self.cleanup is not None:
            self.cleanup.cancel()
        if self.background is not None:
            self.background.cancel()

    def _interrupt(self) -> None:
        """Cancel the handler in progress, and begin no other."""
        self.interrupted = True
        self.box.express = True
        if self.scope is not None:
            self.scope.cancel()

    def _collect_background(self) -> None:
        if self.background is not None:
            self.errors.extend(self.background.errors)
            self.background.errors.clear()

    def absorb(self, error: BaseException) -> None:
        """Keep an error; tell a cancellation that was asked for from one that strayed in."""
        cancelled, rest = split_cancelled(error)
        if rest is not None:
            self.errors.append(rest)
        if cancelled is None:
            return
        if cancelled_from_outside():
            if self.verdict is None:
                self.verdict = KILLED
            self.cancelled = True
        else:
            self.errors.append(stray(self.box.path, cancelled))

    # -- handling messages ---------------------------------------------------------------------

    @enable_ki_protection
    async def _drain(self) -> None:
        """Handle messages until told to leave, or until a handler failed (see `errors`)."""
        box, pace = self.box, self.kernel.pace
        normal, take, receive = box.normal, box.normal.popleft, self.actor.receive
        watchdog, task = self.watchdog, trio.lowlevel.current_task()
        batch = 1
        began_s: float | None = None  # of the batch; not known for the first after a wake
        while True:
            if box.express and await self._drain_express():
                return
            depth = len(normal)
            if not depth:
                if box.senders:
                    box.let_senders_in()
                    continue
                await box.park(task)
                batch = 1
                began_s = None
                continue
            if depth > box.depth_max:
                box.depth_max = depth
            taken = 0
            message: object = None
            try:
                # the queue cannot become shorter meanwhile: nobody else takes anything out
                for taken in range(1, min(batch, depth) + 1):  # noqa: B007 - read in `finally`
                    message = take()
                    if watchdog is not None:
                        watchdog.begin()
                    if message.__class__ in ENVELOPES:
                        await self._serve(message)
                    else:
                        waiting = receive(message)
                        if waiting is not None:
                            await waiting
                    if box.express:
                        break
            except Exception as error:  # noqa: BLE001 - kept as the exit unless the child resumes
                if not self._resumes_after(message, error):
                    return
            except BaseException:
                self.cut_off = (message,)
                raise
            finally:
                box.handled += taken
                if watchdog is not None:
                    watchdog.rest()
            if box.senders:
                box.let_senders_in()
            if not normal:
                continue  # about to sleep, which gives way as well
            now_s = pace.now_s()
            batch = next_batch(batch, now_s - (began_s or now_s), pace.slice_s)
            if pace.used_up(now_s):
                await pace.give_way()
                now_s = pace.now_s()
                if pace.used_up(now_s):
                    batch = 1  # others had it all: go on, but let the loop turn
            began_s = now_s

    async def _drain_express(self) -> bool:
        """Handle the system and urgent lanes; return True if told to leave."""
        box, pace = self.box, self.kernel.pace
        while self.leaving is None and not self.interrupted:
            if box.system:
                message: object = box.system.popleft()
            elif box.urgent:
                message = box.urgent.popleft()
                box.handled += 1
            else:
                box.express = False
                return False
            if self.watchdog is not None:
                self.watchdog.begin()
            try:
                if message.__class__ in ENVELOPES:
                    await self._serve(message)
                else:
                    await self._handle(message)
            except Exception as error:  # noqa: BLE001 - kept as the exit unless the child resumes
                if not self._resumes_after(message, error):
                    return True
            except BaseException:
                self.cut_off = (message,)
                raise
            finally:
                if self.watchdog is not None:
                    self.watchdog.rest()
            if pace.used_up(pace.now_s()):
                await pace.give_way()
        return True

    async def _handle(self, message: object) -> None:
        waiting = self.actor.receive(message)
        if waiting is not None:
            await waiting

    async def _serve(self, envelope: object) -> None:
        """Handle what is not a plain message: a conflated slot, or a question."""
        if not isinstance(envelope, Asking):
            assert isinstance(envelope, Latest), "every envelope is an Asking or a Latest"
            await self._handle(self.box.take(envelope))
            return
        if envelope.state is not PortState.WAITING or trio.current_time() >= envelope.deadline_s:
            return  # nobody waits for the answer any more: do not work on it
        envelope.taken = True
        waiting = self.actor.receive(envelope.question)
        if waiting is not None:
            await waiting
        if envelope.unanswered():
            envelope.refuse(NoReply(path=self.box.path, question=envelope.question))

    def _resumes_after(self, message: object, error: Exception) -> bool:
        """Bury the message the handler failed on; say whether the actor is to go on.

        The message is not put back: delivering it again would fail again. The error's traceback
        begins in user code: our frames say nothing, and would keep the actor alive in a cycle.
        """
        if error.__traceback__ is not None:
            error.with_traceback(error.__traceback__.tb_next)  # frozen ones refuse assignment
        resumed = self.terms.may_resume is not None and self.terms.may_resume(error)
        if isinstance(message, Asking):
            message.refuse(ActorCrashed(path=self.box.path, cause=error))
        why = DeadLetterWhy.RESUMED_PAST if resumed else DeadLetterWhy.CRASHED_ON
        self.box.bury(plain(message), why, error)
        if not resumed:
            self.errors.append(error)
        elif self.kernel.events.listeners:
            self.kernel.events.emit(
                ActorResumed(
                    at_s=trio.current_time(),
                    path=self.box.path,
                    incarnation=self.number,
                    error=error,
                )
            )
        return resumed

    # -- what the context offers ---------------------------------------------------------------

    def own(self) -> Belongings:
        """Return what ends with this incarnation: timers, subscriptions, watches.

        Raises:
          ActorDown: it has ended: nobody would end what is begun now.
        """
        self._require_alive()
        if self.belongings is None:
            self.belongings = Belongings(self.box, self.number)
        return self.belongings

    def _require_alive(self) -> None:
        if self.exit is not None:
            raise ActorDown(path=self.box.path, cause=None)

    def start_soon(self, fn: Callable[..., Awaitable[object]], args: tuple[object, ...]) -> None:
        """See `Context.start_soon`."""
        self._require_alive()
        if self.background is None:
            self.background = Background(self.box.path, self._interrupt)
            name = f"{self.box.path} (background)"
            self.terms.spawner.start_soon(self.background.keep, name=name)
        self.background.start_soon(fn, args)
