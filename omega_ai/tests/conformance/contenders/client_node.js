// The WebSocket that Node brings, sending back what it is sent: node --experimental-websocket client_node.js URL
function connect() {
  const socket = new WebSocket(process.argv[2]);
  socket.binaryType = 'arraybuffer';
  let over = false;
  const again = () => {
    if (!over) {
      over = true;
      setTimeout(connect, 0);
    }
  };
  socket.addEventListener('message', (event) => socket.send(event.data));
  socket.addEventListener('close', again);
  socket.addEventListener('error', again);
}

connect();
