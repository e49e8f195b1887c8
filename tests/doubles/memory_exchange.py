"""An exchange within one process, for tests of what uses one."""

import itertools
import threading
import time
from collections import defaultdict

from headrace.errors import Unavailable
from headrace.serving.exchange import Delivery


class MemoryExchange:
    """Shares its state with those made from it: ``other()`` is as if on another host."""

    def __init__(self, shared=None):
        self.shared = shared or Shared()
        self.trouble = ""

    def other(self):
        return MemoryExchange(self.shared)

    def ask(self, endpoint, message):
        if self.trouble:
            raise Unavailable("the exchange is away", why=self.trouble)
        with self.shared.lock:
            for (own, _), queue in self.shared.groups.items():
                if own == endpoint:
                    queue.put(message)

    def tell(self, endpoint, message, address=None):
        if self.trouble:
            raise Unavailable("the exchange is away", why=self.trouble)
        for _, take in self.shared.heard(endpoint, address):
            take([message])

    def listen(self, endpoint, take):
        if self.trouble:
            raise Unavailable("the exchange is away", why=self.trouble)
        address = next(self.shared.addresses)
        self.shared.listeners[endpoint].append((address, take))
        return address

    def join(self, endpoint, group):
        with self.shared.lock:
            return Member(self.shared.groups.setdefault((endpoint, group), Queue()), self.shared.aside)

    def close(self):
        pass


class Shared:
    def __init__(self):
        self.lock = threading.Lock()
        self.addresses = itertools.count()
        self.groups, self.listeners, self.aside = {}, defaultdict(list), []

    def heard(self, endpoint, address):
        return [each for each in self.listeners[endpoint] if address is None or address == each[0]]


class Queue:
    """What a group is asked: messages with the number of tries."""

    def __init__(self):
        self.waiting, self.changed, self.offsets = [], threading.Condition(), itertools.count()

    def put(self, message):
        with self.changed:
            self.waiting.append((next(self.offsets), message, 0, False))
            self.changed.notify()

    def back(self, held):
        with self.changed:
            self.waiting = sorted([*held, *self.waiting])


class Member:
    def __init__(self, queue, aside):
        self.queue, self.aside, self.held, self.joined = queue, aside, {}, True

    def take(self, within_s, most):
        with self.queue.changed:
            until = time.monotonic() + within_s
            while not self.queue.waiting and (left := until - time.monotonic()) > 0:
                self.queue.changed.wait(left)
            found = self.queue.waiting[:most]
            alone = [each for each in found if each[3]]
            found = alone[:1] or found
            self.queue.waiting = [each for each in self.queue.waiting if each not in found]
        self.held |= {offset: (message, tries, suspect) for offset, message, tries, suspect in found}
        return [Delivery(message, tries, suspect, (0, offset)) for offset, message, tries, suspect in found]

    def done(self, deliveries):
        for delivery in deliveries:
            self.held.pop(delivery.place[1], None)

    def set_aside(self, delivery, why):
        self.aside.append((delivery.value, why))
        self.done([delivery])

    def close(self):
        self.queue.back([(offset, m, tries + suspect, True) for offset, (m, tries, suspect) in self.held.items()])
