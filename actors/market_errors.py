"""What goes wrong between us and the market, and what our own protections say about it.

It holds no behaviour: retries, breakers and limiters live in `ringfence.actors.resilience`.
Import from `ringfence.actors.errors`, which has these names and all the others.
"""

# A name says what happened; that it is an error shows where it is raised.
# ruff: noqa: N818

from collections.abc import Mapping
from typing import ClassVar

from ringfence.actors.error_root import Severity, TradingError


class NetworkError(TradingError, ConnectionError):
    """A request or a connection failed on the way.

    Args:
      url: what was asked.
      status_code: the HTTP status, if there was an answer.
      timeout: the limit of the request, in seconds.
    """

    component = "network"
    declared = ("url", "status_code", "timeout")

    def __init__(
        self,
        message: str,
        url: str | None = None,
        status_code: int | None = None,
        timeout: float | None = None,
        **context: object,
    ) -> None:
        self.url, self.status_code, self.timeout = url, status_code, timeout
        super().__init__(message, **context)


class DataFeedError(TradingError):
    """A source of market data failed."""

    component = "data_feed"
    severity = Severity.MEDIUM
    declared = ("data_source", "symbol", "interval")

    def __init__(
        self,
        message: str,
        data_source: str | None = None,
        symbol: str | None = None,
        interval: str | None = None,
        **context: object,
    ) -> None:
        self.data_source, self.symbol, self.interval = data_source, symbol, interval
        super().__init__(message, **context)


class DataProcessingError(DataFeedError):
    """A source of market data sent something that makes no sense."""

    severity = Severity.HIGH


class BrokerError(TradingError):
    """The broker or the venue failed us; that it refused an order is a message, not an error."""

    component = "broker"
    declared = ("broker_type", "symbol", "order_type")

    def __init__(
        self,
        message: str,
        broker_type: str | None = None,
        symbol: str | None = None,
        order_type: str | None = None,
        **context: object,
    ) -> None:
        self.broker_type, self.symbol, self.order_type = broker_type, symbol, order_type
        super().__init__(message, **context)


class OrderOutcomeUnknown(BrokerError):
    """An order was sent and nobody knows whether it was taken: reconcile before sending again."""


class StrategyError(TradingError):
    """A trading strategy failed."""

    component = "strategy"


class ConfigurationError(TradingError):
    """A setting is wrong; only a changed setting helps."""

    component = "configuration"


class ValidationError(TradingError):
    """A value is outside what is allowed; the same value will be refused again."""

    component = "validation"


class RecoveryError(TradingError):
    """An attempt to recover from an error failed itself."""

    component = "recovery"


class RiskManagementError(TradingError):
    """A limit on risk was passed, or can no longer be checked."""

    component = "risk_management"
    severity = Severity.CRITICAL


class APIError(TradingError):
    """A remote service answered with an error of its own.

    Args:
      status_code: as in HTTP.
      error_code: the service's own code.
      details: whatever it added; an empty dict when it added nothing.
    """

    component = "api"
    declared: ClassVar[tuple[str, ...]] = ("status_code", "details")

    def __init__(
        self,
        status_code: int,
        error_code: str,
        details: Mapping[str, object] | None = None,
        **context: object,
    ) -> None:
        self.status_code = status_code
        self.details: dict[str, object] = dict(details or {})
        super().__init__(f"API Error [{error_code}]", **context)
        self.error_code = error_code


class AsyncOperationError(APIError):
    """An asynchronous operation failed; subclass it to give the user a suggestion in the details.

    Its code is `ASYNC_<OPERATION>_FAILED`. A subclass may set another `status` than 500, such as
    504 when time ran out.
    """

    component = "async_operation"
    status: ClassVar[int] = 500
    declared = ("operation", "status_code", "details")

    def __init__(
        self, operation: str, details: Mapping[str, object] | None = None, **context: object
    ) -> None:
        self.operation = operation
        code = f"ASYNC_{operation.upper()}_FAILED"
        super().__init__(self.status, code, details, **context)


class IncompleteRead(TradingError, EOFError):
    """The stream ended inside a frame.

    Args:
      expected: bytes the frame has in total.
      partial: the bytes that came.
    """

    component = "framing"
    severity = Severity.MEDIUM
    declared = ("expected", "partial")

    def __init__(self, expected: int, partial: bytes, **context: object) -> None:
        self.expected, self.partial = expected, partial
        super().__init__(
            f"the stream ended after {len(partial)} of {expected} bytes of a frame", **context
        )


class LimitOverrun(TradingError):
    """No end of frame was found within the limit of the buffer.

    Args:
      consumed: bytes that were searched.
    """

    component = "framing"
    declared = ("consumed",)

    def __init__(self, consumed: int, **context: object) -> None:
        self.consumed = consumed
        super().__init__(
            f"no end of frame within {consumed} bytes: the peer speaks another protocol, "
            "or the limit of the buffer is too low",
            **context,
        )


class InvalidStateError(TradingError):
    """A thing was used in a state that does not allow it, such as a result set twice."""

    component = "state"


class UnsupportedOperation(TradingError, RuntimeError):
    """This object has no such operation, such as `sendfile` on a trio stream."""

    component = "operation"


# What our own protections say.


class ResilienceError(TradingError):
    """A protection (retry, breaker, bulkhead, limiter, deadline) ended an operation."""

    component = "resilience"


class CircuitBreakerOpenError(ResilienceError):
    """The breaker refused the call: what it guards failed too often.

    Args:
      state: of the breaker, such as "open".
      retry_after: seconds until it may let a probe through; None if a person must close it.
      opened_at: when it opened, in seconds of the monotonic clock.
      last_error: text of the failure that opened it.
      guidance: what a person can do.
    """

    severity = Severity.MEDIUM
    declared = ("name", "state", "retry_after", "opened_at", "last_error", "guidance")

    def __init__(
        self,
        name: str,
        state: str = "open",
        retry_after: float | None = None,
        opened_at: float | None = None,
        last_error: str | None = None,
        guidance: str | None = None,
        **context: object,
    ) -> None:
        self.name, self.state, self.retry_after = name, state, retry_after
        self.opened_at, self.last_error, self.guidance = opened_at, last_error, guidance
        wait = "until it is closed by hand" if retry_after is None else f"for {retry_after:g} s"
        super().__init__(
            f"circuit breaker {name!r} is {state} and refuses calls {wait}"
            + (f"; last failure: {last_error}" if last_error else "")
            + (f"; {guidance}" if guidance else ""),
            **context,
        )


class BulkheadFull(ResilienceError):
    """All places of a bulkhead are taken, and its waiting room is full.

    Args:
      running: calls inside.
      waiting: calls in the waiting room.
      limit: calls that may run at the same time.
      retry_after: seconds after which a place is likely; None if not known.
    """

    severity = Severity.MEDIUM
    declared = ("name", "running", "waiting", "limit", "retry_after")

    def __init__(
        self,
        name: str,
        running: int,
        waiting: int,
        limit: int,
        retry_after: float | None = None,
        **context: object,
    ) -> None:
        self.name, self.running, self.waiting = name, running, waiting
        self.limit, self.retry_after = limit, retry_after
        super().__init__(
            f"bulkhead {name!r} is full: {running} of {limit} running, {waiting} waiting; "
            "call less often or raise the limit",
            **context,
        )


class OperationTimeout(ResilienceError, TimeoutError):
    """An operation took longer than it may.

    Args:
      limit: seconds it may take.
      elapsed: seconds it took.
      scope: what was limited.
    """

    declared = ("limit", "elapsed", "scope")

    def __init__(
        self,
        limit: float,
        elapsed: float | None = None,
        scope: str | None = None,
        **context: object,
    ) -> None:
        self.limit, self.elapsed, self.scope = limit, elapsed, scope
        super().__init__(f"{scope or 'Operation'} exceeded {limit}s", **context)


class RetryExhausted(ResilienceError):
    """Every attempt failed; the last failure is the cause.

    Args:
      attempts: calls made, the first one included.
      elapsed: seconds from the first call to giving up.
    """

    declared = ("operation", "attempts", "elapsed")

    def __init__(
        self, operation: str, attempts: int, elapsed: float | None = None, **context: object
    ) -> None:
        self.operation, self.attempts, self.elapsed = operation, attempts, elapsed
        super().__init__(f"{operation} failed {attempts} times and is not tried again", **context)


class RetryBudgetExhausted(ResilienceError):
    """The shared budget of retries is spent: more would only add load to something failing.

    Args:
      retry_after: seconds until the budget has room again; None if not known.
    """

    severity = Severity.MEDIUM
    declared = ("name", "retry_after")

    def __init__(self, name: str, retry_after: float | None = None, **context: object) -> None:
        self.name, self.retry_after = name, retry_after
        super().__init__(
            f"retry budget {name!r} is spent: the failure is passed on without another try",
            **context,
        )


class RateLimited(ResilienceError):
    """A limiter of ours or of the venue refused the call for now.

    Args:
      retry_after: seconds to wait; None if not known.
    """

    severity = Severity.MEDIUM
    declared = ("name", "retry_after")

    def __init__(self, name: str, retry_after: float | None = None, **context: object) -> None:
        self.name, self.retry_after = name, retry_after
        wait = "later" if retry_after is None else f"in {retry_after:g} s"
        super().__init__(f"rate limit {name!r} is reached: try again {wait}", **context)


class EmergencyShutdown(ResilienceError):
    """The system is to stop trading and go flat at once; a person must start it again."""

    severity = Severity.CRITICAL
