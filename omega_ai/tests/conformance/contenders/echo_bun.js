// An echo server with Bun (uWebSockets); prints its port.
const server = Bun.serve({
  hostname: '127.0.0.1',
  port: 0,
  fetch(request, server) {
    if (server.upgrade(request)) return undefined;
    return new Response('WebSocket only', { status: 426 });
  },
  websocket: {
    perMessageDeflate: true,
    maxPayloadLength: 32 << 20,
    backpressureLimit: 64 << 20,
    idleTimeout: 240,
    message(socket, message) {
      socket.send(message);
    },
  },
});
console.log(server.port);
