// The same work with Bun: uWebSockets' own publish().
function option(name) {
  const place = process.argv.indexOf('--' + name);
  return place < 0 ? undefined : process.argv[place + 1];
}

const cert = option('cert');
const deflate = process.argv.includes('--deflate');
const server = Bun.serve({
  port: Number(option('port')),
  hostname: '127.0.0.1',
  tls: cert ? { cert: Bun.file(cert), key: Bun.file(option('key')) } : undefined,
  fetch(request, server) {
    if (server.upgrade(request, { data: new URL(request.url).pathname })) return undefined;
    return new Response('WebSocket only', { status: 426 });
  },
  websocket: {
    perMessageDeflate: deflate,
    idleTimeout: 960,
    open(socket) {
      if (!['/pub', '/echo', '/stamp', '/idle'].includes(socket.data)) socket.subscribe('all');
    },
    message(socket, message) {
      if (socket.data === '/pub') server.publish('all', message, deflate);
      else if (socket.data === '/echo') socket.send(message);
      else if (socket.data === '/stamp') {
        const parsed = JSON.parse(message);
        parsed.received_at = new Date().toISOString();
        socket.send(JSON.stringify(parsed));
      }
    },
  },
});
