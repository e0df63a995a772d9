// The floor of a proxy that copies: bytes from one socket to the other, by recv() and send() in one thread, and
// nothing else. No faults, no limits, no half-close: it only says what two copies through a process cost.
//   relay port=9000 to=9001 [buffer=65536]
#include "common.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>

enum { MOST = 65536 };

// For each descriptor: where its bytes go, and what that one could not take yet.
static struct end { int peer; size_t begin, size; char *rest; } ends[MOST];
static size_t buffer_size;

static int tcp(void) {
  int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
  if (fd < 0) die("socket");
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  return fd;
}

static struct sockaddr_in loopback(int port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

static void watch(int epoll, int fd, int how, uint32_t events) {
  struct epoll_event event = {.events = events, .data.fd = fd};
  if (epoll_ctl(epoll, how, fd, &event)) die("epoll_ctl");
}

static void adopt(int epoll, int fd, int peer) {
  int on = 1;
  if (fd >= MOST) die("too many descriptors");
  fcntl(fd, F_SETFL, O_NONBLOCK);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ends[fd].peer = peer;
  ends[fd].begin = ends[fd].size = 0;
  watch(epoll, fd, EPOLL_CTL_ADD, EPOLLIN);
}

static void drop(int fd) {
  close(ends[fd].peer);
  close(fd);
}

// Sends what is kept of the bytes read from fd; whether none is left.
static int flush(int fd) {
  struct end *end = &ends[fd];
  while (end->size) {
    ssize_t sent = send(end->peer, end->rest + end->begin, end->size, MSG_NOSIGNAL);
    if (sent < 0) return errno == EAGAIN ? 0 : -1;
    end->begin += (size_t)sent;
    end->size -= (size_t)sent;
  }
  return 1;
}

int main(int argc, char **argv) {
  int port = (int)number_arg(argc, argv, "port", 0), to = (int)number_arg(argc, argv, "to", 0);
  buffer_size = (size_t)number_arg(argc, argv, "buffer", 65536);
  int listener = tcp(), epoll = epoll_create1(0);
  struct sockaddr_in here = loopback(port), there = loopback(to);
  if (bind(listener, (void *)&here, sizeof here) || listen(listener, 64)) die("listen");
  watch(epoll, listener, EPOLL_CTL_ADD, EPOLLIN);
  for (;;) {
    struct epoll_event events[64];
    int count = epoll_wait(epoll, events, 64, -1);
    for (int i = 0; i < count; i++) {
      int fd = events[i].data.fd;
      if (fd == listener) {
        int client = accept(listener, NULL, NULL), server = tcp();
        if (client < 0) continue;
        if (connect(server, (void *)&there, sizeof there)) die("connect");
        adopt(epoll, client, server);
        adopt(epoll, server, client);
        continue;
      }
      int peer = ends[fd].peer;
      if (events[i].events & EPOLLOUT) {  // fd can take what was read from its peer
        if (flush(peer) == 1) {
          watch(epoll, fd, EPOLL_CTL_MOD, EPOLLIN);
          watch(epoll, peer, EPOLL_CTL_MOD, EPOLLIN);
        }
        continue;
      }
      struct end *end = &ends[fd];
      if (!end->rest && !(end->rest = malloc(buffer_size))) die("malloc");
      ssize_t got = recv(fd, end->rest, buffer_size, 0);
      if (got < 0 && errno == EAGAIN) continue;
      if (got <= 0) {
        drop(fd);
        break;  // events of the descriptors just closed may follow
      }
      end->begin = 0;
      end->size = (size_t)got;
      int done = flush(fd);
      if (done < 0) {
        drop(fd);
        break;
      }
      if (!done) {
        watch(epoll, fd, EPOLL_CTL_MOD, 0);
        watch(epoll, peer, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
      }
    }
  }
}
