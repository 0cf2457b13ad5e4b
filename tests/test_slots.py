"""The queue in front of a deployment: who is served when, under a clock that the tests set."""

import asyncio
import random
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from shared.slots import LONGEST_QUEUE, Lane, QueueFull, acquire

TIMEOUT_S = 30.0


class Loop(asyncio.SelectorEventLoop):
    """An event loop whose clock stands still until it is set."""

    now = 0.0

    def time(self) -> float:
        return self.now

    def timers(self) -> int:
        return sum(not timer.cancelled() for timer in self._scheduled)

    def settle(self) -> None:
        """Let everything happen that can happen by now."""

        async def some_rounds() -> None:
            for _ in range(5):
                await asyncio.sleep(0)

        self.run_until_complete(some_rounds())


class World:
    """Calls for places, and which of them were served, in order."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.served: list[str] = []
        self.places: dict[str, Lane] = {}

    def call(self, name: str, *lanes: Lane, timeout_s: float = TIMEOUT_S) -> asyncio.Task[Lane]:
        """A call `name`, by the attendee who is its first letter; it has joined the queue at return."""

        async def place() -> Lane:
            lane = await acquire(lanes, name[0], timeout_s)
            self.served.append(name)
            self.places[name] = lane
            return lane

        task = self.loop.create_task(place())
        self.loop.settle()
        return task

    def calls(self, names: str, *lanes: Lane) -> list[asyncio.Task[Lane]]:
        return [self.call(name, *lanes) for name in names.split()]

    def release(self, *lanes: Lane) -> None:
        for lane in lanes:
            lane.release()
        self.loop.settle()

    def release_all(self, lane: Lane) -> list[str]:
        """Who was served while places were given back one by one."""
        before = len(self.served)
        while lane.in_flight:
            self.release(lane)
        return self.served[before:]

    def at(self, now: float) -> None:
        self.loop.now = now
        self.loop.settle()


@pytest.fixture
def world() -> Iterator[World]:
    loop = Loop()
    problems: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: problems.append(context))
    yield World(loop)
    loop.close()
    assert problems == []


def is_empty(*lanes: Lane) -> bool:
    return not any(lane.in_flight or lane.waiting or lane._queue for lane in lanes)


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(main())


def without_waiting(coroutine: Coroutine[Any, Any, Lane]) -> Lane:
    """What a coroutine returns that never gives way to others."""
    with pytest.raises(StopIteration) as stop:
        coroutine.send(None)
    lane: Lane = stop.value.value
    return lane


def test_without_a_limit_everyone_is_served_at_once() -> None:
    lane = Lane(None)

    for _ in range(5000):
        assert without_waiting(acquire([lane], "a", TIMEOUT_S)) is lane

    assert lane.in_flight == 5000 and lane.waiting == 0 and not lane.is_full


def test_a_free_place_is_had_at_once_and_outside_of_any_loop() -> None:
    lane = Lane(2)

    without_waiting(acquire([lane], "a", TIMEOUT_S))
    assert not lane.is_full
    without_waiting(acquire([lane], "a", TIMEOUT_S))
    assert lane.is_full and lane.in_flight == 2
    lane.release()
    assert not lane.is_full and lane.in_flight == 1


def test_the_first_lane_that_is_free_is_taken() -> None:
    lanes = [Lane(1), Lane(2), Lane(None)]

    taken = [without_waiting(acquire(lanes, "a", TIMEOUT_S)) for _ in range(5)]

    assert [lanes.index(lane) for lane in taken] == [0, 1, 1, 2, 2]


def test_who_finds_no_place_waits_for_one(world: World) -> None:
    lane = Lane(1)
    _, second = world.calls("a1 b1", lane)

    assert lane.waiting == 1 and not second.done()

    world.release(lane)
    assert second.result() is lane
    assert lane.in_flight == 1 and lane.waiting == 0

    world.release(lane)
    assert is_empty(lane)


def test_a_newcomer_does_not_overtake_those_who_wait(world: World) -> None:
    lane = Lane(1)
    world.calls("a1 b1", lane)

    lane.release()  # and before b runs again, c comes
    world.call("c1", lane)

    assert world.served == ["a1", "b1"]
    assert world.release_all(lane) == ["c1"]


def test_attendees_take_turns_and_the_calls_of_each_keep_their_order(world: World) -> None:
    lane = Lane(1)
    world.calls("z1 a1 a2 a3 a4 b1 b2 c1", lane)

    assert world.release_all(lane) == ["a1", "b1", "c1", "a2", "b2", "a3", "a4"]
    assert is_empty(lane)


def test_an_attendee_who_comes_later_waits_for_one_turn_of_each_other(world: World) -> None:
    lane = Lane(1)
    world.calls("z1 a1 a2 a3 b1 b2 b3", lane)
    world.release(lane)
    world.call("c1", lane)

    assert world.release_all(lane) == ["b1", "a2", "c1", "b2", "a3", "b3"]


def test_an_attendee_who_comes_back_has_the_last_turn(world: World) -> None:
    lane = Lane(1)
    world.calls("z1 a1 b1 c1", lane)
    world.release(lane)
    world.call("a2", lane)

    assert world.release_all(lane) == ["b1", "c1", "a2"]


def test_a_call_is_served_by_the_first_lane_that_becomes_free(world: World) -> None:
    one, other = Lane(1), Lane(1)
    world.calls("z1 z2 a1 b1", one, other)
    assert one.waiting == other.waiting == 2

    world.release(other)
    assert world.places["a1"] is other
    assert one.waiting == other.waiting == 1

    world.release(one)
    assert world.places["b1"] is one
    world.release(one, other)
    assert is_empty(one, other)


def test_two_lanes_that_become_free_in_the_same_moment_serve_two_calls(world: World) -> None:
    one, other = Lane(1), Lane(1)
    world.calls("z1 z2 a1 b1", one, other)

    world.release(one, other)

    assert world.places["a1"] is one and world.places["b1"] is other
    assert one.in_flight == other.in_flight == 1
    world.release(one, other)
    assert is_empty(one, other)


def test_who_waits_at_one_lane_only_is_not_passed_over_for_a_call_served_elsewhere(
    world: World,
) -> None:
    one, other = Lane(1), Lane(1)
    world.calls("z1 z2 a1", one, other)
    world.calls("a2 b1", one)

    world.release(other, one)  # a1 is served by the other: it is a's turn here with a2

    assert world.served[2:] == ["a1", "a2"]
    assert world.release_all(one) == ["b1"]


def test_who_waits_too_long_is_told_and_leaves_nothing_behind(world: World) -> None:
    one, other = Lane(1), Lane(1)
    world.calls("z1 z2", one, other)
    task = world.call("a1", one, other, timeout_s=5)

    world.at(4.9)
    assert not task.done()

    world.at(5)
    with pytest.raises(TimeoutError):
        task.result()
    assert one.in_flight == other.in_flight == 1
    world.release(one, other)
    assert is_empty(one, other)


def test_a_place_that_comes_as_the_time_is_over_is_lost_to_nobody(world: World) -> None:
    lane = Lane(1)
    world.call("z1", lane)
    first, second = world.call("a1", lane, timeout_s=5), world.call("b1", lane)
    world.loop.call_at(5.000001, lane.release)  # after a's time is over and before a runs again

    world.at(6)

    assert isinstance(first.exception(), TimeoutError)
    assert second.result() is lane
    world.release(lane)
    assert is_empty(lane)


def test_a_place_given_before_the_time_is_over_is_kept(world: World) -> None:
    lane = Lane(1)
    world.call("z1", lane)
    task = world.call("a1", lane, timeout_s=5)
    world.loop.call_at(4.999999, lane.release)  # and a runs again after its time is over

    world.at(6)

    assert task.result() is lane and lane.in_flight == 1


def test_no_timer_is_kept_for_a_call_that_was_served(world: World) -> None:
    lane = Lane(1)
    world.calls("z1 a1", lane)
    assert world.loop.timers() == 1

    world.release(lane)

    assert world.loop.timers() == 0


def test_who_leaves_the_queue_leaves_nothing_behind(world: World) -> None:
    one, other = Lane(1), Lane(1)
    world.calls("z1 z2", one, other)
    first, second = world.calls("a1 a2", one, other)

    first.cancel()
    world.loop.settle()
    assert first.cancelled()
    assert one.waiting == other.waiting == 1

    world.release(other)
    assert second.result() is other
    world.release(one, other)
    assert is_empty(one, other)


def test_a_place_given_to_one_who_leaves_in_the_same_moment_goes_to_the_next(world: World) -> None:
    lane = Lane(1)
    _, first, second = world.calls("z1 a1 b1", lane)

    lane.release()
    first.cancel()
    world.loop.settle()

    assert first.cancelled() and second.result() is lane
    assert lane.in_flight == 1
    world.release(lane)
    assert is_empty(lane)


def test_one_who_left_in_the_same_moment_is_passed_over_and_uses_no_turn(world: World) -> None:
    lane = Lane(1)
    _, first, *_ = world.calls("z1 a1 a2 b1", lane)

    first.cancel()
    world.release(lane)

    assert world.served == ["z1", "a2"]
    assert world.release_all(lane) == ["b1"]
    assert is_empty(lane)


def test_one_who_leaves_as_the_time_is_over_has_left(world: World) -> None:
    lane = Lane(1)
    world.call("z1", lane)
    task = world.call("a1", lane, timeout_s=5)
    world.loop.call_at(5.000001, task.cancel)

    world.at(6)

    assert task.cancelled()
    world.release(lane)
    assert is_empty(lane)


@pytest.mark.parametrize(("limit", "served"), [(2, 1), (3, 2), (100, 4), (None, 4)])
def test_a_higher_limit_serves_those_who_wait(world: World, limit: int | None, served: int) -> None:
    lane = Lane(1)
    world.calls("z1 a1 a2 b1 b2", lane)

    lane.limit = limit
    world.loop.settle()

    assert lane.limit == limit
    assert world.served[1:] == ["a1", "b1", "a2", "b2"][:served]
    assert lane.in_flight == served + 1 and lane.waiting == 4 - served


def test_a_lower_limit_is_kept_as_soon_as_enough_calls_are_over(world: World) -> None:
    lane = Lane(3)
    world.calls("z1 z2 z3 a1", lane)

    lane.limit = 1
    world.release(lane, lane)
    assert lane.in_flight == 1 and lane.waiting == 1

    world.release(lane)
    assert world.served[-1] == "a1" and lane.in_flight == 1


def test_beyond_a_thousand_who_wait_calls_are_refused_at_once(world: World) -> None:
    full, other = Lane(1), Lane(1)
    world.call("z1", full)
    world.call("z2", other)
    waiting = [
        world.loop.create_task(acquire([full], str(number), TIMEOUT_S))
        for number in range(LONGEST_QUEUE)
    ]
    world.loop.settle()
    assert full.waiting == LONGEST_QUEUE == 1000

    assert isinstance(world.call("a1", full).exception(), QueueFull)
    assert isinstance(world.call("a1", other, full).exception(), QueueFull)
    assert full.waiting == 1000 and other.waiting == 0

    waiting[500].cancel()
    world.loop.settle()
    late = world.call("a1", full)
    assert full.waiting == 1000 and not late.done()

    world.release_all(full)
    assert late.result() is full and is_empty(full)


def test_a_free_lane_is_taken_though_the_queue_of_another_is_full(world: World) -> None:
    full, free = Lane(0), Lane(1)
    for number in range(LONGEST_QUEUE):
        world.loop.create_task(acquire([full], str(number), TIMEOUT_S))
    world.loop.settle()

    assert world.call("a1", full, free).result() is free
    full.limit = None
    world.loop.settle()


def test_two_hundred_at_once_on_twenty_places_wait_alike() -> None:
    """One attendee has sent 150 calls before 50 others send one each."""
    lane = Lane(20)
    order: list[str] = []
    most = 0

    async def call(attendee: str) -> None:
        nonlocal most
        await acquire([lane], attendee, TIMEOUT_S)
        most = max(most, lane.in_flight)
        order.append(attendee)
        for _ in range(3):
            await asyncio.sleep(0)
        lane.release()

    async def main() -> None:
        attendees = ["burst"] * 150 + [str(number) for number in range(50)]
        await asyncio.gather(*map(call, attendees))

    run(main)

    assert len(order) == 200 and most == 20
    last_of_the_others = max(place for place, who in enumerate(order) if who != "burst")
    assert last_of_the_others < 20 + 2 * 50
    assert is_empty(lane)


@pytest.mark.parametrize("seed", range(5))
def test_ten_thousand_calls_that_come_and_go_leave_nothing_behind(seed: int) -> None:
    """Over lanes whose limits change, with callers who leave at any moment."""
    chance = random.Random(seed)
    lanes = [Lane(3), Lane(5), Lane(1)]
    served = 0
    excess = 0
    allowed = {lane: 0 for lane in lanes}  # how many there may be, also since a limit was lowered

    def check() -> None:
        nonlocal excess
        for lane in lanes:
            allowed[lane] = max(lane.limit or 0, min(allowed[lane], lane.in_flight))
            excess += lane.in_flight > allowed[lane]

    async def call(attendee: str, some: Sequence[Lane], timeout_s: float) -> None:
        nonlocal served
        try:
            lane = await acquire(some, attendee, timeout_s)
        except TimeoutError:
            return
        try:
            served += 1
            check()
            for _ in range(chance.randrange(6)):
                await asyncio.sleep(0)
        finally:
            lane.release()
            check()

    async def hundred_calls() -> None:
        tasks = []
        for _ in range(100):
            some = chance.sample(lanes, chance.randint(1, 3))
            timeout_s = chance.choice([0, 0.001, 60])
            tasks.append(asyncio.create_task(call(chance.choice("abcdef"), some, timeout_s)))
            if chance.random() < 0.3:
                chance.choice(tasks[-20:]).cancel()
            if chance.random() < 0.3:
                await asyncio.sleep(0)
        chance.choice(lanes).limit = chance.randint(1, 5)
        check()
        await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), timeout=30)

    async def main() -> None:
        for _ in range(100):
            await hundred_calls()

    run(main)

    assert excess == 0
    assert served > 1000
    assert is_empty(*lanes)


class Call:
    """A call in the queue's history: ticks of the history, not seconds."""

    def __init__(self, attendee: str, lanes: list[Lane], joined: int) -> None:
        self.attendee = attendee
        self.lanes = lanes
        self.joined = joined
        self.left: int | None = None
        self.task: asyncio.Task[Lane]

    def waited_throughout(self, lane: Lane, begin: int, end: int) -> bool:
        left = self.left is None or self.left > end
        return lane in self.lanes and self.joined < begin and left


class Grant:
    def __init__(self, call: Call, lane: Lane, tick: int, was_queued: bool) -> None:
        self.call = call
        self.lane = lane
        self.tick = tick
        self.was_queued = was_queued


class Queue(RuleBasedStateMachine):
    """Calls that come, are served, leave and wait too long, at lanes whose limits change.

    After each step the history is held against what the queue promises.
    """

    def __init__(self) -> None:
        super().__init__()
        self.loop = Loop()
        self.problems: list[dict[str, Any]] = []
        self.loop.set_exception_handler(lambda _, context: self.problems.append(context))
        self.lanes = [Lane(1), Lane(2), Lane(0)]
        self.allowed = [1, 2, 0]
        self.tick = 0
        self.calls: list[Call] = []
        self.held: list[Lane] = []
        self.grants: list[Grant] = []
        self.granted: list[Grant] = []

    def settle(self) -> None:
        """Let the loop run, and check those who were served, in their order."""
        self.loop.settle()
        granted, self.granted = self.granted, []
        for grant in granted:
            self.check(grant)
            self.grants.append(grant)
        for call in self.calls:
            if call.left is None and call.task.done():
                call.left = self.next_tick()

    def next_tick(self) -> int:
        self.tick += 1
        return self.tick

    def waiting(self) -> list[Call]:
        return [call for call in self.calls if call.left is None]

    def check(self, grant: Grant) -> None:
        lane, attendee = grant.lane, grant.call.attendee
        others = [
            call
            for call in self.calls
            if call is not grant.call and call.waited_throughout(lane, grant.tick, grant.tick)
        ]
        if not grant.was_queued:
            assert not others, "a newcomer has overtaken"
            return
        for call in others:
            is_later = call.attendee != attendee or call.joined > grant.call.joined
            assert is_later, "the calls of an attendee are not in order"
        turns = [past for past in self.grants if past.lane is lane and past.was_queued]
        last = next((past for past in reversed(turns) if past.call.attendee == attendee), None)
        if last is None:
            return
        since = {past.call.attendee for past in turns if past.tick > last.tick}
        for call in others:
            if call.attendee != attendee and call.waited_throughout(lane, last.tick, grant.tick):
                assert call.attendee in since, "an attendee was passed over"

    @rule(
        attendee=st.sampled_from("abc"),
        numbers=st.lists(st.integers(0, 2), min_size=1, unique=True),
        timeout_s=st.sampled_from([0.0, 1.0, 5.0, 1000.0]),
    )
    def come(self, attendee: str, numbers: list[int], timeout_s: float) -> None:
        call = Call(attendee, [self.lanes[number] for number in numbers], self.next_tick())

        async def place() -> Lane:
            is_full = all(lane.is_full for lane in call.lanes)
            lane = await acquire(call.lanes, attendee, timeout_s)
            call.left = self.next_tick()
            self.granted.append(Grant(call, lane, call.left, is_full))
            self.held.append(lane)
            return lane

        call.task = self.loop.create_task(place())
        self.calls.append(call)
        self.settle()

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def go(self, data: st.DataObject) -> None:
        self.release(data)
        self.settle()

    @precondition(lambda self: len(self.held) > 1)
    @rule(data=st.data())
    def two_go_at_once(self, data: st.DataObject) -> None:
        self.release(data)
        self.release(data)
        self.settle()

    @precondition(lambda self: self.waiting())
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        self.cancel(data)
        self.settle()

    @precondition(lambda self: self.waiting() and self.held)
    @rule(data=st.data())
    def leave_as_a_place_becomes_free(self, data: st.DataObject) -> None:
        self.cancel(data)
        self.release(data)
        self.settle()

    @precondition(lambda self: self.waiting() and self.held)
    @rule(data=st.data())
    def leave_with_a_place_just_given(self, data: st.DataObject) -> None:
        self.release(data)
        self.cancel(data)
        self.settle()
        self.grants.clear()  # the place of the one who left was a turn that nobody has seen

    @rule(seconds=st.sampled_from([0.5, 1.0, 10.0]))
    def time_passes(self, seconds: float) -> None:
        self.loop.now += seconds
        self.settle()

    @precondition(lambda self: self.held)
    @rule(seconds=st.sampled_from([0.5, 1.0, 10.0]), data=st.data())
    def time_passes_as_a_place_becomes_free(self, seconds: float, data: st.DataObject) -> None:
        self.loop.now += seconds
        self.release(data)
        self.settle()

    @rule(number=st.integers(0, 2), limit=st.none() | st.integers(0, 4))
    def change_a_limit(self, number: int, limit: int | None) -> None:
        self.lanes[number].limit = limit
        self.settle()

    def release(self, data: st.DataObject) -> None:
        lane = data.draw(st.sampled_from(self.lanes).filter(lambda lane: lane in self.held))
        self.held.remove(lane)
        lane.release()

    def cancel(self, data: st.DataObject) -> None:
        call = data.draw(st.sampled_from(self.waiting()))
        call.left = self.next_tick()
        call.task.cancel()

    @invariant()
    def no_lane_holds_more_than_its_limit(self) -> None:
        for number, lane in enumerate(self.lanes):
            if lane.limit is not None:
                # A limit that was lowered is kept as soon as enough calls are over.
                self.allowed[number] = max(lane.limit, min(self.allowed[number], lane.in_flight))
                assert lane.in_flight <= self.allowed[number]
            else:
                self.allowed[number] = lane.in_flight

    @invariant()
    def no_place_is_lost(self) -> None:
        assert all(lane.in_flight == self.held.count(lane) for lane in self.lanes)

    @invariant()
    def nobody_is_forgotten(self) -> None:
        for lane in self.lanes:
            waiting = [call for call in self.waiting() if lane in call.lanes]
            assert lane.waiting == len(waiting)
            assert lane.is_full or not waiting
            assert set(lane._queue) == {call.attendee for call in waiting}

    def teardown(self) -> None:
        for lane in self.lanes:
            lane.limit = 1
        self.settle()
        while self.held:
            self.held.pop().release()
            self.settle()
        assert all(call.task.done() for call in self.calls)
        assert is_empty(*self.lanes)
        self.loop.close()
        assert self.problems == []


TestQueue = Queue.TestCase
TestQueue.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
