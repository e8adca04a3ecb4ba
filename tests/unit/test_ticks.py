"""What a schedule does at which time: a table of its choices, and a world in which schedulers die and race."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from mainspring.core.job import Job, Run
from mainspring.core.schedule import Missed
from mainspring.core.schedule_acts import changed, expires_at, pause, redeclared, resume
from mainspring.core.ticks import LONGEST_QUEUE, Placing, due_at, job_of, note_run, stands
from tests.unit.ticking import DAY, HOUR, MINUTE, START, World, at

M = MINUTE
CATCH_UP, OVERLAP = ("skip", "one", "all"), ("skip", "queue", "allow")


def every(period: str = "10m", **options: Any) -> World:
    return World(every=period, **options)


# -- on time ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("catch_up", CATCH_UP)
@pytest.mark.parametrize("overlap", OVERLAP)
def test_on_time_every_tick_is_fired(catch_up: str, overlap: str) -> None:
    world = every(catch_up=catch_up, overlap=overlap)
    for now in range(0, 61 * M, M // 2):
        world.run(now)
    assert world.ran == [10 * M, 20 * M, 30 * M, 40 * M, 50 * M, 60 * M]
    assert world.counts == (6, 0, 0)
    assert world.next == 70 * M


def test_nothing_is_due_before_its_time() -> None:
    world = every()
    made = world.look(10 * M - 1)
    assert (made.ticks, made.due_at, made.dropped) == ((), START + 10 * M, ())
    assert world.look(10 * M).ticks == (START + 10 * M,)


def test_an_interval_that_starts_now_starts_now() -> None:
    world = every(start="now")
    world.run(0)
    assert world.ran == [0]
    assert world.next == 10 * M


def test_a_cron_in_its_zone() -> None:
    world = World(cron="0 9 * * 1", timezone="America/New_York")
    world.run(7 * DAY)
    assert world.ran == [6 * DAY + 14 * HOUR]


# -- late ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("catch_up", "ran", "missed"),
    [("skip", [], (10, 60, 6)), ("one", [60], (10, 50, 5)), ("all", [10, 20, 30, 40, 50, 60], None)],
)
@pytest.mark.parametrize("overlap", OVERLAP)
def test_after_downtime(catch_up: str, ran: list[int], missed: tuple[int, int, int] | None, overlap: str) -> None:
    world = every(catch_up=catch_up, overlap=overlap)
    world.run(65 * M)
    assert world.ran == [tick * M for tick in ran]
    story = world.schedule.last_missed
    if missed is None:
        assert story is None
    else:
        first, last, count = missed
        assert story == Missed(first=START + first * M, last=START + last * M, count=count)
    assert world.counts == (len(ran), 6 - len(ran), 0)
    assert world.next == 70 * M
    world.run(70 * M)
    assert world.ran[-1] == 70 * M


@pytest.mark.parametrize(("late", "ran"), [(M, [10 * M]), (M + 1, [])])
def test_a_minute_late_is_on_time(late: int, ran: list[int]) -> None:
    world = every(catch_up="skip")
    world.run(10 * M + late)
    assert world.ran == ran


@pytest.mark.parametrize(
    ("options", "ran"),
    [
        ({"catch_up": "all", "catch_up_window": "25m"}, [40, 50, 60]),
        ({"catch_up": "all", "catch_up_max": 2}, [50, 60]),
        ({"catch_up": "all", "catch_up_max": 2, "catch_up_window": "7m"}, [60]),
        ({"catch_up": "one", "catch_up_window": "5m"}, [60]),
        ({"catch_up": "one", "catch_up_window": "4m"}, []),
        ({"catch_up": "all", "catch_up_window": "4m"}, []),
        ({"catch_up": "one", "catch_up_max": 5}, [60]),
    ],
)
def test_window_and_maximum(options: dict[str, Any], ran: list[int]) -> None:
    world = every(**options)
    world.run(65 * M)
    assert world.ran == [tick * M for tick in ran]
    assert world.counts == (len(ran), 6 - len(ran), 0)
    story = world.schedule.last_missed
    assert story is not None
    assert (story.first, story.last) == (START + 10 * M, START + (60 - 10 * len(ran)) * M)


def test_a_window_of_nothing_still_takes_what_is_on_time() -> None:
    world = every(catch_up_window=0)
    world.run(10 * M + 30_000)
    assert world.ran == [10 * M]


def test_more_than_can_be_counted() -> None:
    world = World(cron="* * * * *")
    world.run(2 * DAY)
    story = world.schedule.last_missed
    assert world.ran == [2 * DAY]
    assert story is not None
    assert (story.exact, story.first, story.last) == (False, START + M, START + 2 * DAY - M)
    assert story.count == world.schedule.missed == 999


def test_what_is_missed_is_counted_over_all_its_life() -> None:
    world = every()
    world.run(35 * M)
    world.run(65 * M)
    assert world.schedule.missed == 4
    assert world.schedule.last_missed == Missed(first=START + 40 * M, last=START + 50 * M, count=2)


# -- overlap ---------------------------------------------------------------------------------------------------------


def test_skip_leaves_out_what_comes_meanwhile() -> None:
    world = every(overlap="skip")
    for now in (10, 20, 30):
        world.look(now * M)
        world.begin()
    assert world.counts == (1, 0, 2)
    assert world.schedule.last_skipped == START + 30 * M
    world.end()
    world.run(40 * M)
    assert world.ran == [10 * M, 40 * M]


def test_queue_runs_one_after_another_in_order() -> None:
    world = every(overlap="queue")
    for now in (10, 20, 30):
        made = world.look(now * M)
        world.begin()
    assert world.running == [str(START + 10 * M)]
    assert made.due_at == START + 30 * M + 10_000  # looks again, should nobody tell of the end
    world.run()
    assert world.ran == [10 * M, 20 * M, 30 * M]
    assert world.together == 1
    assert world.counts == (3, 0, 0)


def test_allow_lets_them_run_together() -> None:
    world = every(overlap="allow")
    for now in (10, 20, 30):
        world.look(now * M)
        world.begin()
    assert world.together == 3


def test_a_queue_has_an_end() -> None:
    world = World(every="1m", overlap="queue")
    for now in range(1, LONGEST_QUEUE + 5):
        world.look(now * M)
        world.begin()
    assert len(world.schedule.backlog) == LONGEST_QUEUE
    assert world.counts == (1, 0, 3)
    assert world.schedule.last_skipped == START + (LONGEST_QUEUE + 4) * M


@pytest.mark.parametrize("overlap", ["skip", "queue"])
def test_what_is_made_up_for_runs_one_after_another(overlap: str) -> None:
    world = every(overlap=overlap, catch_up="all")
    world.look(35 * M)
    world.begin()
    assert len(world.running) == 1
    world.run()
    assert world.ran == [10 * M, 20 * M, 30 * M]
    assert world.together == 1


def test_a_run_by_hand_counts_as_one_that_goes_on() -> None:
    world = every(overlap="skip")
    world.schedule, dropped = note_run(world.schedule, "run-1")
    world.rows["run-1"] = job_of(world.schedule, "run-1", START, START, Placing())
    world.begin()
    world.look(10 * M)
    assert (dropped, world.counts) == ((), (0, 0, 1))
    world.end()
    world.run(20 * M)
    assert world.counts == (1, 0, 1)


# -- from the end of a run -------------------------------------------------------------------------------------------


def test_fixed_delay_counts_from_the_end() -> None:
    world = every(fixed_delay=True)
    world.look(10 * M)
    world.begin()
    assert world.look(17 * M).due_at == START + 17 * M + 10_000
    assert world.next is None
    world.end()
    world.look(18 * M)
    assert world.next == 27 * M
    world.run(27 * M)
    assert world.next == 37 * M
    assert world.ran == [10 * M, 27 * M]


@pytest.mark.parametrize("options", [{"catch_up": "skip"}, {"catch_up_window": "2m"}])
def test_fixed_delay_goes_on_after_a_tick_that_was_missed(options: dict[str, Any]) -> None:
    world = every(fixed_delay=True, **options)
    world.run(30 * M)
    assert (world.counts, world.next) == ((0, 1, 0), 40 * M)
    world.run(40 * M)
    assert world.ran == [40 * M]


def test_fixed_delay_of_a_run_whose_row_is_gone() -> None:
    world = every(fixed_delay=True)
    world.look(10 * M)
    world.rows.clear()
    world.look(11 * M)
    assert world.next == 21 * M


# -- once ------------------------------------------------------------------------------------------------------------


def test_once_at_a_time() -> None:
    world = World(at=at(5 * M))
    world.run(5 * M)
    assert (world.ran, world.next, world.schedule.recurring) == ([5 * M], None, False)
    assert due_at(world.schedule, START + HOUR) is None
    assert expires_at(world.schedule, START) == START + 90 * DAY
    assert job_of(world.schedule, str(START), START, START, Placing()).kept == 90 * DAY
    world.run(DAY)
    assert world.ran == [5 * M]


@pytest.mark.parametrize(("catch_up", "ran"), [("skip", []), ("one", [5 * M]), ("all", [5 * M])])
def test_once_and_late(catch_up: str, ran: list[int]) -> None:
    world = World(at=at(5 * M), catch_up=catch_up)
    world.run(DAY)
    assert world.ran == ran
    assert world.counts == (len(ran), 1 - len(ran), 0)
    assert world.next is None


@pytest.mark.parametrize("timing", [{"cron": "*/10 * * * *"}, {"every": "10m"}])
@pytest.mark.parametrize("catch_up", CATCH_UP)
@pytest.mark.parametrize("late", [0, 55 * M])
def test_the_first_time_alone(timing: dict[str, Any], catch_up: str, late: int) -> None:
    world = World(recurring=False, catch_up=catch_up, overlap="allow", **timing)
    world.run(10 * M + late)
    ran = [] if late and catch_up == "skip" else [10 * M]
    assert (world.ran, world.next) == (ran, None)
    assert world.counts == (len(ran), 1 - len(ran), 0)
    assert job_of(world.schedule, str(START), START, START, Placing()).kept == 90 * DAY


# -- pauses ----------------------------------------------------------------------------------------------------------


def test_nothing_of_a_pause_is_made_up_for() -> None:
    world = every(catch_up="all", overlap="queue")
    world.look(10 * M)
    world.begin()
    world.look(25 * M)
    world.schedule = pause(world.schedule, "why", START + world.now)
    assert (world.schedule.skipped, world.schedule.backlog, due_at(world.schedule, START)) == (1, (), None)
    assert world.look(40 * M).due_at is None
    world.schedule = resume(world.schedule, START + 45 * M)
    world.end()
    world.run(50 * M)
    assert world.ran == [10 * M, 50 * M]
    assert world.counts == (2, 0, 1)


def test_resumed_at_the_time_of_a_tick_that_ran() -> None:
    world = every(start="now")
    world.run(0)
    world.schedule = resume(pause(world.schedule, "", START + world.now), START)
    world.run(0)
    assert (world.ran, world.counts, world.next) == ([0], (1, 0, 0), 10 * M)


def test_a_single_run_whose_time_came_in_a_pause() -> None:
    world = World(at=at(5 * M))
    world.schedule = pause(world.schedule, "", START + world.now)
    world.look(HOUR)
    world.schedule = resume(world.schedule, START + HOUR)
    world.run(HOUR)
    assert world.ran == [5 * M]
    world.schedule = resume(pause(world.schedule, "", START + world.now), START + HOUR)
    world.run(2 * HOUR)
    assert world.ran == [5 * M]


@pytest.mark.parametrize("goes_on", [True, False])
def test_fixed_delay_after_a_pause(goes_on: bool) -> None:
    world = every(fixed_delay=True)
    world.look(10 * M)
    world.begin()
    world.schedule = pause(world.schedule, "", START + world.now)
    if not goes_on:
        world.end()
    world.look(20 * M)
    world.schedule = resume(world.schedule, START + 30 * M)
    world.now = 35 * M
    world.end()
    world.look()
    assert world.next == (45 * M if goes_on else 40 * M)


# -- changes ---------------------------------------------------------------------------------------------------------


def test_other_times_count_from_now() -> None:
    world = every()
    world.run(10 * M)
    made = changed(world.schedule, START + 13 * M, {"every": "5m"})
    assert (made.next, made.recent, made.fired) == (START + 18 * M, world.schedule.recent, 1)
    assert changed(world.schedule, START + 13 * M, {"jitter": 5}).next == world.schedule.next


def test_another_interval_is_still_counted_from_the_end() -> None:
    assert changed(every(fixed_delay=True).schedule, START, {"every": "5m"}).fixed_delay
    assert not changed(every(fixed_delay=True).schedule, START, {"cron": "@daily"}).fixed_delay


def test_from_a_time_to_times() -> None:
    once = World(at="now")
    once.run(0)
    made = changed(once.schedule, START, {"cron": "@daily"})
    assert (made.recurring, made.at, made.next) == (True, None, START + DAY)
    assert not changed(once.schedule, START, {"cron": "@daily", "recurring": False}).recurring
    single = World(cron="@daily", recurring=False).schedule
    assert not changed(single, START, {"cron": "@hourly"}).recurring


def test_declared_anew_it_keeps_its_life_and_where_its_interval_begins() -> None:
    world = every()
    world.run(10 * M)
    now = START + 13 * M
    said = every(description="new").schedule.evolve(start=now + 10 * M, definition="d")
    made = redeclared(world.schedule, said, now)
    assert (made.id, made.next, made.recent, made.start) == (
        world.schedule.id, START + 20 * M, world.schedule.recent, world.schedule.start,
    )  # fmt: skip
    assert (made.description, made.definition) == ("new", "d")
    assert redeclared(world.schedule, said, now, started=True).next == now + 10 * M


def test_declared_anew_what_ran_once_does_not_run_again() -> None:
    world = World(cron="*/10 * * * *", recurring=False)
    world.run(10 * M)
    said = World(cron="*/10 * * * *", recurring=False, description="new").schedule
    assert redeclared(world.schedule, said, START + 13 * M).next is None
    other = World(cron="0 * * * *", recurring=False).schedule
    assert redeclared(world.schedule, other, START + 13 * M).next == START + HOUR


# -- history, jitter -------------------------------------------------------------------------------------------------


def test_the_history_forgets_the_oldest() -> None:
    world = World(every="1m", history=3, overlap="allow")
    for now in range(1, 8):
        world.run(now * M)
    assert world.schedule.recent == tuple(str(START + now * M) for now in (5, 6, 7))
    assert set(world.rows) == set(world.schedule.recent)
    world.schedule, dropped = note_run(world.schedule, "run-1")
    assert dropped == (str(START + 5 * M),)


def test_jitter_is_the_same_for_all_who_ask_and_bounded() -> None:
    schedule = every(jitter="30s").schedule

    def delay(tick: int, entry: str | None = None) -> int:
        job = job_of(schedule, entry or str(tick), tick, START, Placing())
        assert job.scheduled_at == tick
        return job.due_at - tick

    delays = [delay(START + n * M) for n in range(500)]
    assert delays == [delay(START + n * M) for n in range(500)]
    assert 0 <= min(delays) < 1_000
    assert 29_000 < max(delays) <= 30_000
    assert len(set(delays)) > 400
    assert delay(START, "run-1") == 0  # by hand is now


def test_the_job_of_a_tick() -> None:
    schedule = every(queue="q", priority=9, timeout="5s", max_retries=2, retry_delay="7s").schedule
    job = job_of(schedule, "12", 12, START, Placing("other", 1, 500))
    assert (job.queue, job.priority, job.timeout, job.start_by) == ("q", 9, 5_000, START + 500)
    assert (job.retry or {})["max_attempts"] == 3
    assert (job.origin, job.rule, job.keyed, job.meta) == ("schedule:s", "once", True, {"schedule": "s"})
    plain = job_of(every().schedule, "12", 12, START, Placing("other", 1))
    assert (plain.queue, plain.priority, plain.timeout, plain.start_by) == ("other", 1, None, None)


def test_rows_outlive_the_history_of_rare_runs() -> None:
    weekly = World(cron="0 9 * * 1").schedule
    assert (job_of(weekly, "1", START, START, Placing()).kept or 0) > 52 * 7 * DAY


# -- which jobs stand ------------------------------------------------------------------------------------------------


def tick_job(world: World, tick: int) -> Job:
    return job_of(world.schedule, str(START + tick), START + tick, START, Placing())


def test_a_job_stands_where_its_schedule_asked_for_it() -> None:
    world = every(history=1)
    assert stands(world.schedule, tick_job(world, 10 * M))  # not noted yet
    world.run(10 * M)
    assert stands(world.schedule, tick_job(world, 10 * M))
    assert stands(world.schedule, tick_job(world, 20 * M))
    world.run(20 * M)
    assert not stands(world.schedule, tick_job(world, 10 * M)), "it had its run and was forgotten"
    assert not stands(None, tick_job(world, 20 * M)), "the schedule is gone"
    assert not stands(every().schedule, tick_job(world, 20 * M)), "it was made anew"
    assert stands(world.schedule, job_of(world.schedule, "run-1", START, START, Placing()))


def test_a_tick_that_was_being_fired_when_its_schedule_was_paused() -> None:
    world = every()
    for fired in (0, 1):
        late = tick_job(world, world.next or 0)
        assert len(world.ran) == fired
        assert not stands(pause(world.schedule, "", START), late)
        assert not stands(world.schedule.evolve(retired=True), late)
        world.run(10 * M)
        job = tick_job(world, 10 * M)
        assert not stands(pause(world.schedule, "", START), job), "it has not begun"
        begun = job.evolve(runs=(Run(claim=1, attempt=1, outcome="interrupted", started_at=START, ended_at=START),))
        assert stands(pause(world.schedule, "", START), begun), "what runs goes on"
    once = World(at=at(M))
    assert stands(pause(once.schedule, "", START), tick_job(once, M))


def test_a_job_that_waits_while_its_history_is_short() -> None:
    world = every(history=1)
    world.look(10 * M)
    world.schedule, _ = note_run(world.schedule, "run-1")
    assert stands(world.schedule, tick_job(world, 10 * M))


def test_a_job_that_was_skipped_or_missed_does_not_stand() -> None:
    world = every(catch_up="one")
    world.look(35 * M)
    world.begin()
    world.look(40 * M)
    stand = [tick for tick in (10, 20, 30, 40, 50) if stands(world.schedule, tick_job(world, tick * M))]
    assert stand == [30, 50]


# -- schedulers that die, are late and race --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("catch_up", "overlap", "due", "late", "begun"),
    list(itertools.product(CATCH_UP, OVERLAP, (10, 35), (0, 10, 25), (False, True))),
)
def test_a_death_before_the_write(catch_up: str, overlap: str, due: int, late: int, begun: bool) -> None:
    world = every(catch_up=catch_up, overlap=overlap)
    world.now = due * M
    world.act(*world.read(), dies=True)
    if begun:
        world.begin()
    world.look((due + late) * M)
    world.begin()
    world.run()
    assert due > 10 or world.ran[0] == 10 * M
    assert len(world.ran) == len(set(world.ran)) == world.schedule.fired
    assert sum(world.counts) == (due + late) // 10
    assert overlap == "allow" or world.together <= 1


@pytest.mark.parametrize(("catch_up", "overlap"), list(itertools.product(CATCH_UP, OVERLAP)))
def test_one_death_after_another(catch_up: str, overlap: str) -> None:
    world = every(catch_up=catch_up, overlap=overlap)
    for now in (10, 20, 30):
        world.now = now * M
        world.act(*world.read(), dies=True)
        world.begin()
        world.end()
    world.run(45 * M)
    assert len(world.ran) == len(set(world.ran)) == world.schedule.fired
    assert sum(world.counts) == 4
