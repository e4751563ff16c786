"""One connection, as both sides have it: frames, heartbeats both ways, and how it ends."""

import asyncio
from typing import cast

from coldchain.clients.dubbo.errors import DamagedFrame
from coldchain.clients.dubbo.frame import EVENT, REQUEST, TWO_WAY, Frame, FrameReader, Status, encode_frame
from coldchain.clients.dubbo.message import READ_ONLY
from coldchain.clients.dubbo.pace import Beat, Pace
from coldchain.clients.hessian2 import Decoder, HessianError, encode
from coldchain.clients.host_port import host_port

NOTHING = encode(None)
"""The body of a heartbeat."""
EVENT_BYTES_MAX = 1024


class Link(asyncio.Protocol):
    """Tells of calls and results by `take`, of a peer that takes no new calls by `told_read_only`, of the end by
    `ended`."""

    def __init__(self, pace: Pace, body_bytes_max: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._pace = pace
        self._reader = FrameReader(body_bytes_max)
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._heard_at = self._sent_at = self._loop.time()
        self._reason = ""
        self._events = 0
        self._unsent: list[bytes] = []
        """Of this turn of the loop: many calls and answers go out together."""
        self.peer = ""
        self.open = False
        self.heard = False
        """Whether anything ever came."""
        self._flowing = asyncio.Event()
        self._flowing.set()

    # For who uses it

    def send(self, frame: bytes) -> None:
        if self._transport is not None and self.open:
            if not self._unsent:
                self._loop.call_soon(self._flush)
            self._unsent.append(frame)

    def _flush(self) -> None:
        if self._unsent and self._transport is not None:
            self._sent_at = self._loop.time()
            self._transport.write(b"".join(self._unsent))
        self._unsent.clear()

    def send_event(self, body: bytes, *, two_way: bool) -> None:
        self._events += 1
        self.send(encode_frame(REQUEST | EVENT | (TWO_WAY if two_way else 0), 0, self._events, body))

    async def flows(self) -> None:
        """Waits until the peer takes what is sent."""
        if not self._flowing.is_set():
            await self._flowing.wait()

    def end(self, reason: str, *, at_once: bool = False) -> None:
        """Closes it; what was written before goes out, but for `at_once`."""
        self._reason = self._reason or reason
        self.open = False
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            if at_once:
                self._unsent.clear()
                self._transport.abort()
            else:
                self._flush()
                self._transport.close()

    def take(self, frame: Frame) -> None:
        """A call or a result has come."""
        raise NotImplementedError

    def told_read_only(self) -> None:
        """The peer takes no new calls from now on."""

    def ended(self, reason: str) -> None:
        """It is no connection any more."""

    # asyncio's own

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is of another class
        host, port = (transport.get_extra_info("peername") or ("?", 0))[:2]
        self.peer = host_port(str(host), port)
        self.open = True
        self._heard_at = self._sent_at = self._loop.time()
        self._beat()

    def data_received(self, data: bytes) -> None:
        self._heard_at = self._loop.time()
        self.heard = True
        try:
            frames = self._reader.feed(data)
        except DamagedFrame as error:
            self.end(f"{self.peer} does not speak Dubbo: {error}", at_once=True)
            return
        for frame in frames:
            if frame.event:
                self._take_event(frame)
            else:
                self.take(frame)

    def pause_writing(self) -> None:
        self._flowing.clear()

    def resume_writing(self) -> None:
        self._flowing.set()

    def connection_lost(self, error: Exception | None) -> None:
        self.open = False
        self._unsent.clear()
        if self._timer is not None:
            self._timer.cancel()
        self._flowing.set()
        where = "" if self._reader.between_frames else " within a frame"
        self.ended(self._reason or f"{self.peer} closed the connection{where}{f': {error}' if error else ''}")

    # Events

    def _take_event(self, frame: Frame) -> None:
        if not frame.request:
            return  # the answer to a heartbeat: that it came is all it says
        if frame.two_way:
            self.send(encode_frame(EVENT, Status.OK, frame.id, NOTHING))
        if frame.body is None or not 0 < frame.length <= EVENT_BYTES_MAX:
            return
        try:
            word = Decoder(frame.body).read()
        except HessianError:
            return  # an event of a kind that is not known is none for us
        if word == READ_ONLY:
            self.told_read_only()

    def _beat(self) -> None:
        now = self._loop.time()
        what, next_at = self._pace.beat(now, self._heard_at, self._sent_at)
        if what is Beat.LOST:
            self.end(f"{self.peer} has been silent for {self._pace.silence_seconds_max:g} s", at_once=True)
            return
        if what is Beat.SEND:
            self.send_event(NOTHING, two_way=True)
        self._timer = self._loop.call_at(next_at, self._beat)
