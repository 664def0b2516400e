"""A message that repeats without end is written once, and then counted."""

import logging
import threading
import time

import pytest

from core import log_limits
from core.log_limits import COUNT_EVENT, OWN_BURST, RepeatLimit


class Written(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.messages: list[object] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.msg)

    def counts(self) -> list[tuple[str, int]]:
        return [
            (message["of"], message["count"]) for message in self.messages if isinstance(message, dict) and message["event"] == COUNT_EVENT
        ]


@pytest.fixture
def limited():
    """Returns a function that adds a handler with windows of this length to the root logger, until the test ends."""
    root, level, made = logging.getLogger(), logging.getLogger().level, []

    def make(window_seconds: float = 60.0) -> Written:
        handler = Written()
        handler.addFilter(RepeatLimit(window_seconds))
        made.append(handler)
        root.addHandler(handler)
        root.setLevel(logging.INFO)
        return handler

    yield make
    for handler in made:
        root.removeHandler(handler)
    root.setLevel(level)


def until(condition) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_librarys_message_is_written_once_and_counted(limited):
    """A hundred failed connections to changing ports and nodes give one line, and one with their number at the end of the window."""
    written = limited(2.0)
    log = logging.getLogger("client.conn")  # not a logger of aiokafka itself, whose level the commands set
    for port in range(100):
        log.error("Unable connect to node with id %s: port " + str(port), port)
    assert len(written.messages) == 1
    until(written.counts)
    assert written.counts() == [("Unable connect to node with id %s: port #", 99)]


def test_a_kind_that_has_become_quiet_is_written_again(limited):
    """A message is written again after a window without it, and different messages do not affect each other."""
    written = limited(0.1)
    log = logging.getLogger("library")
    log.warning("first")
    log.warning("second")
    assert written.messages == ["first", "second"]
    time.sleep(1.5)  # many windows, because timers are late on a busy machine
    log.warning("first")
    assert written.messages == ["first", "second", "first"]


def test_events_of_work_are_never_withheld(limited):
    """Our own information and critical events always pass; our own warnings are limited."""
    written = limited()
    log = logging.getLogger("streams.here")
    for _ in range(200):
        log.info({"event": "span.done"})
        log.warning({"event": "call.failed"})
        log.critical({"event": "process.hung"})
    events = [message["event"] for message in written.messages]
    assert (events.count("span.done"), events.count("process.hung"), events.count("call.failed")) == (200, 200, OWN_BURST)


def test_a_frameworks_chatter_in_our_names_is_for_debugging(limited):
    """Messages that mode logs under our modules' names about starting its services pass only at DEBUG."""
    written = limited()
    log = logging.getLogger("streams.processing.transport")
    log.info("[^---PatientBuffer]: Starting...")
    assert written.messages == []
    logging.getLogger().setLevel(logging.DEBUG)
    log.info("[^---PatientBuffer]: Starting...")
    assert len(written.messages) == 1


def test_counting_takes_one_thread(limited):
    """One timer waits for the end of the window, however many kinds of message there are."""
    before = threading.active_count()
    limited()
    for letter in "abcdefghijklmnopqrstuvwxyz":
        logging.getLogger("library").warning(letter)
    assert threading.active_count() <= before + 1


def test_kinds_without_end_are_bounded(limited, monkeypatch):
    """Beyond a maximum number of kinds, all further messages count as one kind, so that memory stays bounded."""
    monkeypatch.setattr(log_limits, "MAX_KINDS", 3)
    written = limited(0.3)
    log = logging.getLogger("library")
    for letter in "abcdefgh":
        log.warning(letter)
    assert written.messages == ["a", "b", "c", "d"]
    until(written.counts)
    assert written.counts() == [("messages of further kinds", 4)]
