"""The two echo servers that need picows, which is not installed with the project."""

from __future__ import annotations

import picows
import picows.websockets


class RawEcho(picows.WSListener):
    """Sends every data frame back as it came: nothing is checked but what the library checks."""

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        """See ``picows.WSListener``."""
        if frame.msg_type == picows.WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()
        elif frame.msg_type == picows.WSMsgType.PING:
            transport.send_pong(frame.get_payload_as_bytes())
        elif frame.msg_type != picows.WSMsgType.PONG:
            transport.send(frame.msg_type, frame.get_payload_as_bytes(), fin=frame.fin)


async def raw(message_limit: int) -> object:
    """Frames as picows gives them."""
    return await picows.ws_create_server(
        lambda _: RawEcho(), "127.0.0.1", 0, max_frame_size=message_limit, websocket_handshake_timeout=5
    )


async def like_websockets(message_limit: int) -> object:
    """The interface of ``websockets`` on picows."""

    async def echo(connection: picows.websockets.ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    return await picows.websockets.serve(echo, "127.0.0.1", 0, max_size=message_limit)
