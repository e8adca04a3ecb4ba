"""Every transition of a job, as pure functions `Job -> Job`. All policy is decided here, and nowhere else.

A function here takes the row as it is stored, and answers the row as it should be; the caller saves it by swap, and
where the swap fails reads the row again and asks again. Nobody touches `version`, `token`, `claims`, `worker` or
`started_at`: those belong to the stores. Only `client`, `worker` and `admin` may call this module.

The running state is left by its owner alone (`settle`, `release`), so "my token, and no longer running" proves that
a settle whose answer was lost has landed (`landed`).
"""

from __future__ import annotations

from mainspring.core.job import LIVE, TERMINAL, Ask, Error, Job, Run, State
from mainspring.core.naming import check_reason
from mainspring.core.outcome import Cancelled, Dead, Failure, Outcome, Skipped, Snoozed, Success
from mainspring.core.policy import DAY, Policy
from mainspring.errors import IllegalTransition

W, R, P = State.WAITING, State.RUNNING, State.PAUSED

EDGES: frozenset[tuple[State, str, State]] = frozenset(
    {
        (W, "claim", R),
        (R, "claim", R),
        (R, "succeed", State.COMPLETED),
        (R, "skip", State.COMPLETED),
        (R, "retry", W),
        (R, "fail", State.FAILED),
        (R, "die", State.DEAD),
        (R, "snooze", W),
        (R, "again", W),
        (R, "release", W),
        (R, "lapse", R),
        (R, "renew", R),
        (R, "vanish", R),
        (R, "doom", R),
        (R, "begin", R),
        (R, "expire", State.CANCELLED),
        (R, "cancel", State.CANCELLED),
        (R, "ask_cancel", R),
        (W, "cancel", State.CANCELLED),
        (P, "cancel", State.CANCELLED),
        (W, "pause", P),
        (P, "resume", W),
        (W, "merge", W),
        (P, "merge", P),
        (R, "merge", R),
        (W, "rerun", W),
        (W, "reset", W),
        (R, "rerun", R),
    }
    | {(ended, action, W) for ended in TERMINAL for action in ("revive", "rerun")}
)
"""Every legal edge: from, action, to. Drawn in docs/state-machine.md; the model tests of all stores walk it."""


# -- what people see --------------------------------------------------------------------------------------------


def status(job: Job, now: int) -> str:
    """The state as shown: scheduled, pending, retrying, running, paused, completed, failed, dead or cancelled."""
    if job.state is not W:
        return job.state.value
    if job.attempts:
        return "retrying"
    return "scheduled" if job.due_at > now else "pending"


def landed(stored: Job | None, mine: Job) -> bool:
    """Whether a settle of `mine`, whose answer was lost, is what the store holds (or what followed from it)."""
    return stored is not None and stored.token == mine.token and stored.state is not R


# -- asking -----------------------------------------------------------------------------------------------------


def over(job: Job, now: int) -> bool:
    """Whether a finished job's retention is over: it no longer holds its key, purged or not."""
    return job.state in TERMINAL and job.expires_at is not None and job.expires_at <= now


def join(job: Job, ask: Ask, now: int, max_wait: int | None = None) -> Job | None:
    """What a new `ask` makes of the `job` that holds its key. None: nothing, the job stands as it is."""
    if job.ask == ask.id or (job.again is not None and job.again.id == ask.id):
        return None
    if over(job, now):
        return revive(job, ask)
    if job.rule == "once":
        return None
    if job.rule == "skip":
        return None if job.state in LIVE else revive(job, ask)
    return merge(job, ask, max_wait)


def merge(job: Job, ask: Ask, max_wait: int | None = None) -> Job | None:
    """Take `ask` into a job of the same key: replace what waits, be remembered by what runs, revive what ended."""
    newest = job if job.again is None else job.again
    if ask.order is not None and newest.order is not None and ask.order < newest.order:
        return None
    same = not ask.force and ask.fingerprint is not None and ask.fingerprint == newest.fingerprint
    if job.state is R:
        return None if same and job.again is not None else _remember(job, ask, max_wait)
    if same:
        return None
    if job.state in TERMINAL:
        return revive(job, ask)
    return _take_in(job, _in_burst(ask, job.first_asked_at, max_wait))


def _remember(job: Job, ask: Ask, max_wait: int | None) -> Job:
    first = None
    if job.again is not None:
        # A run that was asked for by hand stays asked for, whatever values come after it.
        first, ask = job.again.first_asked_at, ask.evolve(force=ask.force or job.again.force)
    return job.evolve(again=_in_burst(ask, first, max_wait), erase=False)


def revive(job: Job, ask: Ask) -> Job:
    """Begin a finished job's next life with `ask`. Its history stays."""
    return _take_in(job, _in_burst(ask, None, None)).evolve(state=W, **_NEW_LIFE)


def _in_burst(ask: Ask, first: int | None, max_wait: int | None) -> Ask:
    first = ask.asked_at if first is None else first
    due = ask.due_at if max_wait is None else max(min(ask.due_at, first + max_wait), ask.asked_at)
    return ask.evolve(first_asked_at=first, due_at=due)


_NEW_LIFE: dict[str, object] = {
    "finished_at": None, "expires_at": None, "has_result": False, "progress": None, "reason": "",
    "again": None, "cancelling": None, "erase": False, "verdict": None,
}  # fmt: skip


def _take_in(job: Job, ask: Ask) -> Job:
    """The job with `ask` as what it wants now: a new sequence of attempts. The state is left to the caller."""
    return job.evolve(
        input=ask.input, due_at=ask.due_at, scheduled_at=ask.due_at, priority=ask.priority, ask=ask.id,
        asked_at=ask.asked_at, first_asked_at=ask.first_asked_at, fingerprint=ask.fingerprint, order=ask.order,
        start_by=ask.start_by, retry=ask.retry, timeout=ask.timeout, retention=ask.retention, meta=ask.meta,
        attempts=0, failed_at=None, error=None, misfit_since=None,
    )  # fmt: skip


# -- running ----------------------------------------------------------------------------------------------------


def begin(job: Job, now: int, policy: Policy) -> Job:
    """What to do with a job just claimed. Still running: run it (and first save it, where it changed). Else: save it.

    Records the runs that vanished, takes in an ask that came during them, and ends what may not start: poison, a
    cancelled run, a timed-out one, a job not started before its time.
    """
    if job.interruptions:
        job = _record_vanished(job, now, policy)
        told = job.verdict == "timed_out"
        if told:  # an end that was told is no interruption
            job = _unclaim(job)
        if job.interruptions > policy.max_interruptions:
            return _instead(job, _poison(job), now, policy)
        job = _take_up(job, now)
        if job.state is W:
            return job
        if told and job.verdict is not None:
            error = Error(type="TimeoutError", message="timed out, and its worker had to end")
            late = Failure(error=error, timed_out=True)
            return _instead(job.evolve(attempts=job.attempts + 1), late, now, policy)
    if job.cancelling is not None:
        return _instead(job, Cancelled(reason=job.cancelling), now, policy)
    if job.start_by is not None and now > job.start_by:
        return _instead(job, Cancelled(reason="expired"), now, policy)
    return job


def _instead(job: Job, outcome: Outcome, now: int, policy: Policy) -> Job:
    """The job after `outcome`, without a run under this claim."""
    return _after(_left(job), job, outcome, now, policy, 0.0)


def _poison(job: Job) -> Dead:
    message = f"{job.interruptions} runs in a row vanished"
    if job.runs and job.runs[-1].error is not None:
        message += f"; the last one: {job.runs[-1].error.message}"
    return Dead(reason="poison", error=Error(type="Interrupted", message=message))


def _take_up(job: Job, now: int) -> Job:
    """The job with the ask that came during a run that vanished; waiting, where that is due later."""
    if job.again is None:
        return job
    if not _counts(job.again, job, None):
        return _forget_again(job)
    taken = _take_in(job, job.again).evolve(again=None, cancelling=None, verdict=None, progress=None)
    return taken.evolve(due_at=job.due_at) if taken.due_at <= now else _unclaim(taken).evolve(state=W)


def _record_vanished(job: Job, now: int, policy: Policy) -> Job:
    vanished = range(max(job.settled, job.recorded) + 1, job.claims)
    if not vanished:
        return job
    last = job.claims - 1
    runs = [
        Run(
            claim=claim,
            attempt=job.attempt,
            outcome=(job.verdict if claim == last else None) or "interrupted",
            started_at=job.last_started_at or now,
            ended_at=now,
            worker=job.last_worker if claim == last else "",
        )
        for claim in vanished
    ]
    return job.evolve(runs=_kept((*job.runs, *runs), policy), recorded=last, start_by=None)


def _kept(runs: tuple[Run, ...], policy: Policy) -> tuple[Run, ...]:
    return runs[-policy.runs_kept :] if policy.runs_kept else ()


def settle(job: Job, outcome: Outcome, now: int, policy: Policy, random: float = 0.5) -> Job:
    """The job after its run ended with `outcome`. `random` in [0, 1) is the jitter."""
    counts = 0 if isinstance(outcome, Snoozed) else 1
    runs = _kept((*job.runs, _closed(job, outcome, now)), policy)
    return _after(_left(job, runs=runs, attempts=job.attempts + counts), job, outcome, now, policy, random)


def _left(job: Job, **more: object) -> Job:
    """The job as its run has been accounted for: nothing vanished, no burst, no wish left open."""
    return _forget_again(job).evolve(
        settled=job.claims,
        first_asked_at=None,
        start_by=None,
        cancelling=None,
        verdict=None,
        misfit_since=None,
        erase=False,
        **more,
    )


def _forget_again(job: Job) -> Job:
    """The job without the ask it remembers. That ask's order stays, so that nothing older comes after it."""
    if job.again is None:
        return job
    return job.evolve(again=None, order=job.order if job.again.order is None else job.again.order)


def _closed(job: Job, outcome: Outcome, now: int) -> Run:
    name, error, note = _describe(outcome)
    return Run(
        claim=job.claims, attempt=job.attempt, outcome=name, started_at=job.started_at or now, ended_at=now,
        worker=job.worker, error=error, note=note,
    )  # fmt: skip


def _describe(outcome: Outcome) -> tuple[str, Error | None, str]:
    match outcome:
        case Success():
            return "succeeded", None, ""
        case Failure():
            return ("timed_out" if outcome.timed_out else "failed"), outcome.error, ""
        case Snoozed():
            return "snoozed", None, outcome.note
        case Skipped():
            return "skipped", None, outcome.note
        case Cancelled():
            return "cancelled", None, outcome.reason
        case Dead():
            return "dead", outcome.error, outcome.reason


def _after(job: Job, run: Job, outcome: Outcome, now: int, policy: Policy, random: float) -> Job:
    """What follows: the ask that came during the run, where it counts; else what the outcome says."""
    again = run.again
    if again is not None and _counts(again, run, outcome):
        return _take_in(job, again).evolve(state=W, **_NEW_LIFE)
    ended = _outcome_of(job, run, outcome, now, policy, random)
    return ended.evolve(expires_at=0) if run.erase and ended.state in TERMINAL else ended


def _counts(again: Ask, run: Job, outcome: Outcome | None) -> bool:
    own = again.fingerprint is not None and again.fingerprint == run.fingerprint
    return again.force or not own or isinstance(outcome, Skipped)


def _outcome_of(job: Job, run: Job, outcome: Outcome, now: int, policy: Policy, random: float) -> Job:
    match outcome:
        case Success():
            done = {
                "result": outcome.result,
                "has_result": outcome.result is not None,
                "error": None,
                "failed_at": None,
            }
            return _finish(job, State.COMPLETED, "", now, policy, **done)
        case Skipped():
            return _finish(job, State.COMPLETED, outcome.note or "skipped", now, policy, fingerprint=None)
        case Cancelled():
            return _finish(job, State.CANCELLED, outcome.reason, now, policy)
        case Dead():
            return _finish(job, State.DEAD, outcome.reason, now, policy, error=outcome.error or job.error)
        case Snoozed() if run.cancelling is None:
            begun = outcome.misfit_since is None
            start_by = None if begun else run.start_by
            return job.evolve(state=W, due_at=outcome.until, misfit_since=outcome.misfit_since, start_by=start_by)
        case Failure() if run.cancelling is None:
            return _failed(job, outcome, now, policy, random)
        case _:
            return _finish(job, State.CANCELLED, run.cancelling or "", now, policy)


def _failed(job: Job, failure: Failure, now: int, policy: Policy, random: float) -> Job:
    failed_at = now if job.failed_at is None else job.failed_at
    job = job.evolve(error=failure.error, failed_at=failed_at)
    due = None
    if failure.retryable:
        due = policy.retry_of(job.retry).due(job.attempts, failed_at, now, random, failure.retry_in)
    if due is not None:
        return job.evolve(state=W, due_at=due)
    reason = "exhausted" if failure.retryable else "not retryable"
    return _finish(job, State.DEAD if failure.dead_letter else State.FAILED, reason, now, policy)


def _finish(job: Job, state: State, reason: str, now: int, policy: Policy, **more: object) -> Job:
    expires_at = _expiry(job, state, now, policy)
    return job.evolve(state=state, reason=reason, finished_at=now, expires_at=expires_at, **more)


def _expiry(job: Job, state: State, now: int, policy: Policy) -> int:
    if job.kept is not None:
        return now + job.kept if job.kept else 0
    if state in (State.DEAD, State.FAILED):
        keep = policy.dead_retention
    else:
        keep = policy.retention if job.retention is None else job.retention
    if job.rule == "once":
        keep = max(keep, DAY)  # an idempotency key that ends with its job would be none
    return now + keep if keep else 0


def release(job: Job, now: int, due_at: int, policy: Policy, *, ran: bool = False) -> Job:
    """Give a claimed job back: not an interruption, not an attempt. `ran`: it had begun, so its run is recorded."""
    job = _record_vanished(job, now, policy).evolve(recorded=job.claims)
    if ran:
        run = Run(
            claim=job.claims, attempt=job.attempt, outcome="released", started_at=job.started_at or now, ended_at=now,
            worker=job.worker,
        )  # fmt: skip
        job = job.evolve(runs=_kept((*job.runs, run), policy), start_by=None, first_asked_at=None)
    if job.again is not None and _counts(job.again, job, None):
        return _take_in(_unclaim(job), job.again).evolve(state=W, **_NEW_LIFE)
    if job.cancelling is not None:
        return _instead(job, Cancelled(reason=job.cancelling), now, policy)
    return _unclaim(_forget_again(job)).evolve(state=W, due_at=due_at, verdict=None)


def _unclaim(job: Job) -> Job:
    """Take this claim out of the count of vanished runs; those before it stay counted."""
    return job.evolve(settled=min(job.claims, job.settled + 1))


def lapse(job: Job, now: int) -> Job | None:
    """End the lease of a dead worker's job: due now, nothing else; whoever claims it counts the interruption."""
    return job.evolve(due_at=now) if job.state is R and job.due_at > now else None


def vanish(job: Job, error: Error, now: int, policy: Policy) -> Job:
    """Said by a worker whose handler's process has died in the middle: an interrupted run, of which is known how it
    ended. The job is due now, as after `lapse`, and whoever claims it counts the interruption. Twice is once."""
    if job.recorded == job.claims:
        return job
    job = _record_vanished(job, now, policy)
    run = Run(
        claim=job.claims, attempt=job.attempt, outcome="interrupted", started_at=job.started_at or now, ended_at=now,
        worker=job.worker, error=error,
    )  # fmt: skip
    runs = _kept((*job.runs, run), policy)
    return job.evolve(runs=runs, recorded=job.claims, error=error, start_by=None, due_at=min(job.due_at, now))


def doom(job: Job, due_at: int) -> Job:
    """Said by a worker that must end because this job's timed-out handler would not: count it as a timeout."""
    return job.evolve(verdict="timed_out", due_at=due_at)


# -- operators --------------------------------------------------------------------------------------------------


def cancel(job: Job, now: int, policy: Policy, reason: str = "cancelled", *, erase: bool = False) -> Job | None:
    """Cancel. What waits or is paused ends now; what runs is asked to. None: it had ended already.

    It erases an ask that came before; one that comes after it stands. `erase`: nothing is to be left of it.
    Raises `DefinitionError` for a reason that no row can carry.
    """
    check_reason(reason)
    if job.state is R:
        return _forget_again(job).evolve(cancelling=reason, erase=job.erase or erase)
    if job.state in TERMINAL:
        return job.evolve(expires_at=0) if erase else None
    ended = _finish(_left(job), State.CANCELLED, reason, now, policy)
    return ended.evolve(expires_at=0) if erase else ended


def rerun(job: Job, now: int, ask_id: str) -> Job:
    """Run it (again) as soon as possible, with its own input and new attempts; its history stays.

    What runs, runs once more right after. Raises `IllegalTransition` for a paused job.
    """
    if job.state is P:
        raise IllegalTransition("retry", job.id, job.state.value, "any state but paused; resume it first")
    if job.state is R:
        if job.input is None:
            raise ValueError(f"job {job.id} was read without its input")
        ask = job.again or Ask(
            id=ask_id, input=job.input, due_at=now, asked_at=now, priority=job.priority, fingerprint=job.fingerprint,
            order=job.order, retry=job.retry, timeout=job.timeout, retention=job.retention, meta=job.meta,
        )  # fmt: skip
        return job.evolve(again=ask.evolve(force=True, due_at=now), cancelling=None, erase=False)
    fresh = job.evolve(
        state=W, due_at=now, scheduled_at=now, attempts=0, failed_at=None, start_by=None, first_asked_at=None,
        misfit_since=None,
    )  # fmt: skip
    return fresh.evolve(**_NEW_LIFE) if job.state in TERMINAL else fresh


def reset(job: Job) -> Job:
    """Give a job that waits all its attempts again; it stays due when it was. Raises `IllegalTransition` for others."""
    if job.state is not W:
        raise IllegalTransition("reset", job.id, job.state.value, "waiting for a retry")
    return job.evolve(attempts=0, failed_at=None)


def pause(job: Job) -> Job:
    """Hold a waiting job until `resume`. Raises `IllegalTransition` for any other state."""
    if job.state is not W:
        raise IllegalTransition("pause", job.id, job.state.value, "waiting (scheduled, pending or retrying)")
    return job.evolve(state=P)


def resume(job: Job) -> Job:
    """Let a paused job wait again, with the due time it had. Raises `IllegalTransition` for any other state."""
    if job.state is not P:
        raise IllegalTransition("resume", job.id, job.state.value, "paused")
    return job.evolve(state=W)
