// The same work with Node and `ws`: one send() per client.
const { createServer } = require('node:http');
const secure = require('node:https');
const { readFileSync } = require('node:fs');
const { WebSocketServer } = require('ws');

function option(name) {
  const place = process.argv.indexOf('--' + name);
  return place < 0 ? undefined : process.argv[place + 1];
}

const cert = option('cert');
const server = cert
  ? secure.createServer({ cert: readFileSync(cert), key: readFileSync(option('key')) })
  : createServer();
const perMessageDeflate = process.argv.includes('--deflate') && {
  serverNoContextTakeover: true,
  clientNoContextTakeover: true,
  threshold: 128,
};
const sockets = new WebSocketServer({ server, perMessageDeflate });
const subscribers = new Set();

sockets.on('connection', (socket, request) => {
  socket.on('error', () => {});
  const path = request.url;
  if (path === '/pub') {
    socket.on('message', (data) => {
      for (const subscriber of subscribers) subscriber.send(data, { binary: false });
    });
  } else if (path === '/echo') {
    socket.on('message', (data) => socket.send(data, { binary: false }));
  } else if (path === '/stamp') {
    socket.on('message', (data) => {
      const message = JSON.parse(data);
      message.received_at = new Date().toISOString();
      socket.send(JSON.stringify(message));
    });
  } else if (path !== '/idle') {
    subscribers.add(socket);
    socket.on('close', () => subscribers.delete(socket));
  }
});
server.listen({ port: Number(option('port')), host: '127.0.0.1', backlog: 4096 });
