// floor: the least that a WebSocket server can do. It answers the handshake with a constant, takes each message
// of a publisher, frames it once, and gives it to every subscriber with one send(). No queue: what a full
// socket does not take is dropped. An upper bound for what a server that writes once per message can reach.
//
//   cc -O2 -o floor floor.c        (-DWITH_TLS -lssl -lcrypto, -DWITH_ZLIB -lz)
//   floor port=9001 [cert=FILE key=FILE] [deflate=1]
//
// Paths: one with "pub" publishes, "echo" echoes, "idle" does nothing; every other subscribes.
#include "common.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#ifdef WITH_ZLIB
#include <zlib.h>
#endif

enum { GONE, HANDSHAKE_TLS, HEAD, SUBSCRIBER, PUBLISHER, ECHO, IDLE };
#define MAX_FDS 200000
#define BUFFER 65536

typedef struct {
  int kind, place;  // its index in `subscribers`
  SSL *ssl;
  unsigned char *rest;
  size_t rest_size;
} client;

static client clients[MAX_FDS];
static int subscribers[MAX_FDS], subscriber_count, poll_fd, deflate_on;
static unsigned char out[2 * BUFFER], in[2 * BUFFER];

static void drop(int fd) {
  client *c = &clients[fd];
  if (c->kind == SUBSCRIBER) {
    int last = subscribers[--subscriber_count];
    subscribers[c->place] = last;
    clients[last].place = c->place;
  }
#ifdef WITH_TLS
  if (c->ssl) SSL_free(c->ssl);
#endif
  free(c->rest);
  memset(c, 0, sizeof *c);
  close(fd);
}

#ifdef WITH_ZLIB
static size_t compress_message(const unsigned char *message, size_t size, unsigned char *to, size_t room) {
  static z_stream z;
  static int ready;
  if (!ready) {
    if (deflateInit2(&z, 6, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY) != Z_OK) die("deflateInit2");
    ready = 1;
  }
  deflateReset(&z);
  z.next_in = (unsigned char *)message;
  z.avail_in = (unsigned)size;
  z.next_out = to;
  z.avail_out = (unsigned)room;
  deflate(&z, Z_SYNC_FLUSH);
  return room - z.avail_out - 4;  // without the empty block (RFC 7692 section 7.2.1)
}
#endif

static void publish(const unsigned char *message, size_t size) {
  size_t head;
#ifdef WITH_ZLIB
  if (deflate_on) {
    static unsigned char packed[BUFFER + 64];
    size = compress_message(message, size, packed, sizeof packed);
    head = write_head(out, 0xC1, size, NULL);
    memcpy(out + head, packed, size);
  } else
#endif
  {
    head = write_head(out, 0x81, size, NULL);
    memcpy(out + head, message, size);
  }
  size_t total = head + size;
  for (int i = 0; i < subscriber_count; i++) {
    int fd = subscribers[i];
    ssize_t n = give(fd, clients[fd].ssl, out, total);
    if (n == -2 || (n >= 0 && (size_t)n < total)) {
      drop(fd);  // an error, or a frame cut in two: this client cannot go on
      i--;
    }
  }
}

static int open_connection(int fd, char *head) {
  client *c = &clients[fd];
  char *end = strpbrk(head, "\r\n");
  if (end) *end = 0;
  char answer[512];
  int n = snprintf(answer, sizeof answer,
                   "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                   "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n%s\r\n",
                   deflate_on ? "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; "
                                "client_no_context_takeover\r\n"
                              : "");
  if (give(fd, c->ssl, answer, (size_t)n) != n) return 0;
  c->kind = strstr(head, "pub") ? PUBLISHER : strstr(head, "echo") ? ECHO : strstr(head, "idle") ? IDLE : SUBSCRIBER;
  if (c->kind == SUBSCRIBER) {
    c->place = subscriber_count;
    subscribers[subscriber_count++] = fd;
  }
  return 1;
}

// Take whole frames from the front of `b`; returns the bytes used, or -1 if the connection is over.
static ssize_t feed(int fd, unsigned char *b, size_t n) {
  client *c = &clients[fd];
  size_t used = 0;
  frame f;
  while (read_head(b + used, n - used, &f) && n - used >= f.head + f.length) {
    unsigned char *payload = b + used + f.head;
    if (f.masked)
      for (uint64_t i = 0; i < f.length; i++) payload[i] ^= f.mask[i & 3];
    used += f.head + f.length;
    if (f.opcode == 8 || f.length > BUFFER - 16) return -1;
    if (f.opcode == 1 && c->kind == PUBLISHER) publish(payload, f.length);
    if (f.opcode == 1 && c->kind == ECHO) {
      size_t head = write_head(out, 0x81, f.length, NULL);
      memcpy(out + head, payload, f.length);
      if (give(fd, c->ssl, out, head + f.length) < 0) return -1;
    }
  }
  return (ssize_t)used;
}

static void readable(int fd) {
  client *c = &clients[fd];
  if (c->kind == GONE) return;  // dropped while an event for it was waiting
#ifdef WITH_TLS
  if (c->kind == HANDSHAKE_TLS) {
    int r = SSL_accept(c->ssl);
    if (r != 1) {
      if (SSL_get_error(c->ssl, r) != SSL_ERROR_WANT_READ) drop(fd);
      return;
    }
    c->kind = HEAD;
  }
#endif
  for (;;) {
    size_t kept = c->rest_size;
    if (kept) memcpy(in, c->rest, kept);
    ssize_t got = take(fd, c->ssl, in + kept, BUFFER - 1);
    if (got == -1) return;
    if (got <= 0) {
      drop(fd);
      return;
    }
    size_t n = kept + (size_t)got, used = 0;
    free(c->rest);
    c->rest = NULL;
    c->rest_size = 0;
    if (c->kind == HEAD) {
      in[n] = 0;
      char *end = strstr((char *)in, "\r\n\r\n");
      if (end) {
        used = (size_t)(end + 4 - (char *)in);
        if (!open_connection(fd, (char *)in)) {
          drop(fd);
          return;
        }
      }
    }
    if (c->kind != HEAD) {
      ssize_t taken = feed(fd, in + used, n - used);
      if (taken < 0) {
        drop(fd);
        return;
      }
      used += (size_t)taken;
    }
    if (used < n) {
      c->rest_size = n - used;
      c->rest = malloc(c->rest_size);
      if (!c->rest || c->rest_size > BUFFER) die("a frame is too long");
      memcpy(c->rest, in + used, c->rest_size);
    }
    if (!c->ssl) return;  // epoll tells again; a TLS record may hold more than one read gave
  }
}

int main(int argc, char **argv) {
  int one = 1, port = (int)number_arg(argc, argv, "port", 0);
  const char *cert = text_arg(argc, argv, "cert", NULL), *key = text_arg(argc, argv, "key", cert);
  deflate_on = (int)number_arg(argc, argv, "deflate", 0);
#ifndef WITH_ZLIB
  if (deflate_on) die("made without zlib");
#endif
#ifdef WITH_TLS
  SSL_CTX *tls = NULL;
  if (cert) {
    tls = SSL_CTX_new(TLS_server_method());
    SSL_CTX_set_ciphersuites(tls, TLS_CIPHER);
    SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    if (SSL_CTX_use_certificate_chain_file(tls, cert) != 1 || SSL_CTX_use_PrivateKey_file(tls, key, SSL_FILETYPE_PEM) != 1)
      die("the certificate or its key cannot be read");
  }
#else
  (void)key;
  if (cert) die("made without OpenSSL");
#endif
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(listener, (void *)&a, sizeof a) || listen(listener, 4096)) die("listen");
  poll_fd = epoll_create1(0);
  struct epoll_event e = {.events = EPOLLIN, .data.fd = listener}, events[256];
  epoll_ctl(poll_fd, EPOLL_CTL_ADD, listener, &e);
  for (;;) {
    int n = epoll_wait(poll_fd, events, 256, -1);
    for (int i = 0; i < n; i++) {
      if (events[i].data.fd != listener) {
        readable(events[i].data.fd);
        continue;
      }
      for (int k = 0, fd; k < 64 && (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0; k++) {
        if (fd >= MAX_FDS) die("too many connections");
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        memset(&clients[fd], 0, sizeof clients[fd]);
        clients[fd].kind = HEAD;
#ifdef WITH_TLS
        if (tls) {
          clients[fd].kind = HANDSHAKE_TLS;
          clients[fd].ssl = SSL_new(tls);
          SSL_set_fd(clients[fd].ssl, fd);
          SSL_set_accept_state(clients[fd].ssl);
        }
#endif
        e.data.fd = fd;
        epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &e);
      }
    }
  }
}
