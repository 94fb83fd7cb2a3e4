"""The messages of a websocket, by size and kind (RFC 6455).

wsproto finds the frames. Payloads are not kept, and not inflated: with permessage-deflate a size is
that of the compressed message.
"""

from __future__ import annotations

from collections.abc import Iterator

from wsproto.extensions import Extension
from wsproto.frame_protocol import FrameDecoder, Opcode, ParseFailed, RsvBits

from tunnelctl.inspect.reasons import NotInspected, Reason


class _Compressed(Extension):
    """Accepts the bit of permessage-deflate (RFC 7692), and leaves the payload as it is."""

    name = "permessage-deflate"

    def enabled(self) -> bool:
        return True

    def offer(self) -> bool:
        return False

    def frame_inbound_header(
        self, proto: object, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> RsvBits:
        return RsvBits(True, False, False)


class WebsocketMessages:
    """One direction of a websocket."""

    def __init__(self, *, from_client: bool) -> None:
        # Only a client masks its frames, so the decoder is that of the other side.
        self._decoder = FrameDecoder(client=not from_client, extensions=[_Compressed()])
        self._kind = ""
        self._size = 0

    def take(self, data: bytes) -> Iterator[tuple[str, int]]:
        """The kind and size of each message, and of each control frame, that ends in `data`.

        Raises:
            NotInspected: it is not a websocket.
        """
        try:
            self._decoder.receive_bytes(data)
            while (frame := self._decoder.process_buffer()) is not None:
                if frame.opcode.iscontrol():
                    yield frame.opcode.name.lower(), len(frame.payload)
                    continue
                if frame.opcode is not Opcode.CONTINUATION:
                    self._kind, self._size = frame.opcode.name.lower(), 0
                self._size += len(frame.payload)
                if frame.frame_finished and frame.message_finished:
                    yield self._kind, self._size
        except ParseFailed:
            raise NotInspected(Reason.MALFORMED) from None
