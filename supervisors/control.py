"""`SupervisorRef`: ask a running supervisor about its children, and change them.

Questions (`which_children`, `count_children`, `child_spec`) are answered at once from the books,
whatever the supervisor is doing. Changes wait for their turn in its inbox, as in OTP.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Never, TypeVar, cast

from attrs import frozen

from ringfence.actors.address import Ref
from ringfence.actors.errors import ActorKilled, ChildRefused, StartFailed
from ringfence.actors.lifecycle import KILLED, SHUTDOWN, Failed
from ringfence.supervisors.child import Call, StartOutcome
from ringfence.supervisors.decide import Refusal, Status
from ringfence.supervisors.spec import Child, DynamicSupervisor, Spec, SupervisorSpec
from ringfence.supervisors.supervisor import SupervisorLife
from ringfence.supervisors.tree import require_sound_child

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ringfence.actors.actor import Context
    from ringfence.actors.kernel import Kernel
    from ringfence.supervisors.child import Slot
    from ringfence.supervisors.spec import Start

M = TypeVar("M")


@frozen
class ChildInfo:
    """One child as its supervisor sees it.

    Attributes:
      id: its id, or its key below a `DynamicSupervisor`.
      path: its address.
      status: running, restarting (waiting for a restart) or stopped.
      incarnation: of the running one; ``None`` if none runs.
      supervisor: whether it is a supervisor.
      restart_at_s: when a delayed restart is due, in seconds of `trio.current_time`.
    """

    id: str
    path: str
    status: Status
    incarnation: int | None
    supervisor: bool
    restart_at_s: float | None = None


@frozen
class ChildCounts:
    """OTP's count_children: specs in the books, running children, and how many of each kind."""

    specs: int
    active: int
    supervisors: int
    workers: int


@frozen
class ChildUp(Generic[M]):
    """The answer to a start: the handle, and what ``started()`` returned as `Info`.

    ``ignored``: the actor chose not to run (`IGNORE`).
    """

    ref: Ref[M]
    info: object = None
    ignored: bool = False


class SupervisorRef:
    """A handle on one supervisor; valid over its restarts.

    Every method raises `ActorDown` if the supervisor does not run (OTP: noproc), and `TypeError` if
    the path is that of an actor.
    """

    __slots__ = ("_kernel", "path")

    def __init__(self, kernel: Kernel, path: str) -> None:
        self._kernel = kernel
        self.path = path

    def __repr__(self) -> str:
        return f"SupervisorRef({self.path!r})"

    def _life(self) -> SupervisorLife:
        life = self._kernel.controls.get(self.path)
        if life is None and self.path in self._kernel.boxes:
            msg = f"{self.path} is an actor, not a supervisor: ask the supervisor above it"
            raise TypeError(msg)
        if not isinstance(life, SupervisorLife) or life.exit is not None:
            raise self._kernel.box(self.path).absent()
        return life

    # -- questions -----------------------------------------------------------------------------

    def which_children(self) -> list[ChildInfo]:
        """Return the children, the newest first (R25)."""
        life = self._life()
        return [_info(life, slot) for slot in reversed(life.slots.values())]

    def count_children(self) -> ChildCounts:
        """Count the children. A dynamic supervisor has one spec: its template (R25)."""
        infos = self.which_children()
        supervisors = sum(info.supervisor for info in infos)
        return ChildCounts(
            specs=1 if self._life().dynamic else len(infos),
            active=sum(info.status is Status.RUNNING for info in infos),
            supervisors=supervisors,
            workers=len(infos) - supervisors,
        )

    def child_spec(self, key: str) -> Spec:
        """Return the spec of a child; for a dynamic supervisor, the template.

        Raises:
          ChildRefused: no such child.
        """
        life = self._life()
        if key not in life.slots:
            raise self._refused("look up", key, Refusal.NOT_FOUND)
        return (
            life.spec.template if isinstance(life.spec, DynamicSupervisor) else life.slots[key].spec
        )

    # -- changes -------------------------------------------------------------------------------

    async def start_child(
        self, child: Spec | str, *args: object, **kwargs: object
    ) -> ChildUp[Never]:
        """Start a new child, at the end of the order, and wait until it is up (R18).

        Args:
          child: its spec; below a `DynamicSupervisor`, its key, which becomes its id.
          args, kwargs: below a `DynamicSupervisor`, more arguments behind those of the template.

        Raises:
          ChildRefused: the id is taken (already_started, already_present), or the dynamic
            supervisor has its ``children_max``.
          SpecError: the spec has problems; nothing was started.
          StartFailed: it did not come up; the spec is not kept.
        """
        life = self._life()
        template = life.spec.template if isinstance(life.spec, DynamicSupervisor) else None
        if isinstance(child, str):
            if template is None:
                msg = f"{self.path} has no template for {child!r}: give it a Child or a Supervisor"
                raise TypeError(msg)
            key, spec = child, cast("Spec", template)
            start: Start | None = template.start.extended(args, kwargs)
        else:
            key, spec = getattr(child, "id", ""), child  # what is no spec is refused below
            if template is not None:
                raise self._refused("start", key, Refusal.DYNAMIC)
            start = child.start if isinstance(child, Child) else None
        require_sound_child(spec, key, start, supervisor=life.spec, path=self.path)

        async def run(call: Call) -> None:
            refusal = life.core.may_start(key)
            if refusal is None and isinstance(life.spec, DynamicSupervisor):
                full = len(life.slots) >= life.spec.children_max
                refusal = Refusal.FULL if full else None
            if refusal is not None:
                raise self._refused("start", key, refusal)
            slot = life.starter.admit(key, spec, start)
            outcome = await life.starter.start(slot, report=False)
            self._answer(call, life, slot, outcome, keep_failed=False)

        return cast("ChildUp[Never]", await self._call(life, run))

    async def terminate_child(self, key: str) -> None:
        """Stop a child; its spec is kept, unless it is temporary or dynamic (R19).

        Costs no budget, ends a pending restart, is fine for a child that does not run, and calls
        off a start of this child that is in progress.

        Raises:
          ChildRefused: no such child.
        """
        life = self._life()
        starting = life.starter.current
        if starting is not None and starting.key == key:
            starting_life = starting.life
            if starting_life is not None and not starting_life.up:  # up in this very pass?
                starting_life.call_off()

        async def run(call: Call) -> None:
            slot = life.slots.get(key)
            if slot is None:
                raise self._refused("stop", key, _not_found(life, key))
            await life.stopper.stop(slot)
            forgotten = life.core.terminated(key)
            life.forget(slot, SHUTDOWN, spec_too=forgotten or life.dynamic)
            call.finish()

        await self._call(life, run)

    def kill_child(self, key: str) -> bool:
        """Cancel a child now, without ``stopping``, as if it had died: for chaos tests.

        The supervisor learns of it as of any other end: exit `Killed`, severity as `ActorKilled`.
        A supervisor as a child ends with its whole subtree. Returns whether there was anybody to
        kill; does not wait for the end.

        Raises:
          ChildRefused: no such child.
        """
        life = self._life()
        slot = life.slots.get(key)
        if slot is None:
            raise self._refused("kill", key, _not_found(life, key))
        if slot.life is None or slot.life.exit is not None:
            return False
        # In the middle of its start it must be a start that failed, not one that was called off.
        slot.life.condemn(KILLED if slot.life.up else ActorKilled(path=slot.path))
        return True

    async def restart_child(self, key: str) -> ChildUp[Never]:
        """Start a stopped child again. Costs no budget (R20).

        Raises:
          ChildRefused: it runs, waits for a restart, or does not exist.
          StartFailed: it did not come up; the spec stays.
        """
        life = self._life()

        async def run(call: Call) -> None:
            refusal = Refusal.DYNAMIC if life.dynamic else life.core.may_restart(key)
            if refusal is not None:
                raise self._refused("restart", key, refusal)
            slot = life.slots[key]
            outcome = await life.starter.start(slot, report=False)
            self._answer(call, life, slot, outcome, keep_failed=True)

        return cast("ChildUp[Never]", await self._call(life, run))

    async def delete_child(self, key: str) -> None:
        """Forget the spec of a stopped child (R21).

        Raises:
          ChildRefused: it runs, waits for a restart, or does not exist.
        """
        life = self._life()

        async def run(call: Call) -> None:
            refusal = Refusal.DYNAMIC if life.dynamic else life.core.may_restart(key)
            if refusal is not None:
                raise self._refused("delete", key, refusal)
            life.forget(life.slots[key], SHUTDOWN, spec_too=True)
            call.finish()

        await self._call(life, run)

    def _answer(
        self,
        call: Call,
        life: SupervisorLife,
        slot: Slot,
        outcome: StartOutcome,
        *,
        keep_failed: bool,
    ) -> None:
        """Give the caller of a start its answer; settle what is not kept (R5, R18, R20)."""
        ref: Ref[Never] = Ref(self._kernel.box(slot.path))
        match outcome:
            case StartOutcome.UP:
                assert slot.life is not None, "it is up"
                call.finish(ChildUp(ref, slot.life.info))
            case StartOutcome.IGNORED:
                life.settle_ignored(slot)
                call.finish(ChildUp(ref, ignored=True))
            case StartOutcome.FAILED | StartOutcome.CALLED_OFF:
                error = slot.error
                ended = SHUTDOWN if error is None else Failed(error)
                life.forget(slot, ended, spec_too=not keep_failed)
                if isinstance(error, Exception):
                    raise StartFailed(path=slot.path, cause=error)
                if error is not None:
                    life.fatal.append(error)

    async def _call(self, life: SupervisorLife, run: Callable[[Call], Awaitable[None]]) -> object:
        call = Call(run)
        life.push(call)
        return await call.wait()

    def _refused(self, verb: str, key: str, refusal: Refusal) -> ChildRefused:
        return ChildRefused(path=f"{self.path}/{key}", verb=verb, refusal=refusal.value)


def supervisor_ref(context: Context[M], path: str) -> SupervisorRef:
    """Return the handle on the supervisor at ``path``, for use inside an actor."""
    return SupervisorRef(context._life.kernel, path)  # noqa: SLF001 - the context hides it from users


def _not_found(life: SupervisorLife, key: str) -> Refusal:
    """Say why there is no such child: the id of a template stands for no child (OTP agrees)."""
    template = isinstance(life.spec, DynamicSupervisor) and life.spec.template.id == key
    return Refusal.DYNAMIC if template else Refusal.NOT_FOUND


def _info(life: SupervisorLife, slot: Slot) -> ChildInfo:
    running = slot.life is not None and slot.life.exit is None and slot.life.up
    member = life.core.members.get(slot.key)  # none: temporary, ended just now
    status = Status.STOPPED if member is None else member.status
    if slot.life is not None and not running:
        status = Status.RESTARTING  # it ended just now, or starts just now
    return ChildInfo(
        id=slot.key,
        path=slot.path,
        status=status,
        incarnation=slot.life.number if running and slot.life is not None else None,
        supervisor=isinstance(slot.spec, SupervisorSpec),
        restart_at_s=slot.timer.when_s if slot.timer is not None else None,
    )
