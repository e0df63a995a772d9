// A client with Node and `ws` that sends back what it is sent, again and again: node client_ws.js URL
const WebSocket = require('ws');

function connect() {
  const socket = new WebSocket(process.argv[2], { maxPayload: 32 << 20 });
  socket.on('error', () => {});
  socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
  socket.on('close', () => setImmediate(connect));
}

connect();
