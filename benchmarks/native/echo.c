// echo: a fast WebSocket echo server for measuring load generators. All frames of one read are answered in one
// write. On demand it misbehaves, and says at its end (SIGTERM) exactly how often it did.
//
//   cc -O2 -o echo echo.c
//   echo port=9001 [lose=0.01] [double=0.01] [swap=0.01] [corrupt=0.01] [seed=1]
//
// It prints "ready PORT", and at the end, and on SIGUSR1, one JSON object. A message suffers at most one of the faults. A swapped
// message is held back until the next one of its connection has been sent; if none comes within 50 ms, it is sent.
#include "common.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/epoll.h>

#define MAX_FDS 200000
#define BUFFER (1 << 18)

typedef struct {
  int open, blocked;
  unsigned char *rest, *held, *unsent;
  size_t rest_size, held_size, unsent_size;
} client;

static client clients[MAX_FDS];
static unsigned char in[2 * BUFFER], out[4 * BUFFER];
static size_t out_size;
static int poll_fd, top;
static double lose, twice, swap, corrupt;
static uint64_t state, messages, lost, doubled, swapped, corrupted, held_now;
static volatile sig_atomic_t ended, asked;

static void end(int signal) { (void)signal; ended = 1; }

static void ask(int signal) { (void)signal; asked = 1; }

static void tell(void) {
  printf("{\"messages\": %llu, \"lost\": %llu, \"doubled\": %llu, \"swapped\": %llu, \"corrupted\": %llu}\n",
         (unsigned long long)messages, (unsigned long long)lost, (unsigned long long)doubled,
         (unsigned long long)swapped, (unsigned long long)corrupted);
  fflush(stdout);
}

static double chance(void) {  // xorshift64*
  state ^= state >> 12;
  state ^= state << 25;
  state ^= state >> 27;
  return (double)((state * 2685821657736338717u) >> 11) / 9007199254740992.0;
}

static uint32_t turn(uint32_t x, int by) { return x << by | x >> (32 - by); }

static void sha1(const unsigned char *data, size_t size, unsigned char digest[20]) {  // FIPS 180-4, up to 119 bytes
  uint32_t h[5] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0};
  unsigned char block[128] = {0};
  size_t blocks = size < 56 ? 1 : 2;
  memcpy(block, data, size);
  block[size] = 0x80;
  for (int i = 0; i < 8; i++) block[blocks * 64 - 1 - i] = (unsigned char)((uint64_t)size * 8 >> (8 * i));
  for (size_t b = 0; b < blocks; b++) {
    uint32_t w[80], a = h[0], p = h[1], c = h[2], d = h[3], e = h[4];
    for (int i = 0; i < 16; i++) {
      unsigned char *x = block + b * 64 + 4 * i;
      w[i] = (uint32_t)x[0] << 24 | (uint32_t)x[1] << 16 | (uint32_t)x[2] << 8 | x[3];
    }
    for (int i = 16; i < 80; i++) w[i] = turn(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    for (int i = 0; i < 80; i++) {
      uint32_t f = i < 20 ? (p & c) | (~p & d) : i < 40 ? p ^ c ^ d : i < 60 ? (p & c) | (p & d) | (c & d) : p ^ c ^ d;
      uint32_t k = i < 20 ? 0x5A827999 : i < 40 ? 0x6ED9EBA1 : i < 60 ? 0x8F1BBCDC : 0xCA62C1D6;
      uint32_t next = turn(a, 5) + f + e + k + w[i];
      e = d; d = c; c = turn(p, 30); p = a; a = next;
    }
    h[0] += a; h[1] += p; h[2] += c; h[3] += d; h[4] += e;
  }
  for (int i = 0; i < 20; i++) digest[i] = (unsigned char)(h[i / 4] >> (24 - 8 * (i % 4)));
}

static void base64(const unsigned char *from, size_t size, char *to) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (size_t i = 0; i < size; i += 3) {
    uint32_t bits = (uint32_t)from[i] << 16 | (i + 1 < size ? (uint32_t)from[i + 1] << 8 : 0) | (i + 2 < size ? from[i + 2] : 0);
    for (int j = 0; j < 4; j++) *to++ = i + (size_t)j > size ? '=' : digits[bits >> (18 - 6 * j) & 63];
  }
  *to = 0;
}

static void drop(int fd) {
  client *c = &clients[fd];
  if (c->held) held_now--;
  free(c->rest);
  free(c->held);
  free(c->unsent);
  memset(c, 0, sizeof *c);
  close(fd);
}

static void watch(int fd, uint32_t events, int how) {
  struct epoll_event e = {.events = events, .data.fd = fd};
  if (epoll_ctl(poll_fd, how, fd, &e)) die("epoll_ctl");
}

// Send what there is; what the kernel does not take is kept, and nothing more is read until it has been sent.
static int flush(int fd) {
  client *c = &clients[fd];
  ssize_t sent = give(fd, NULL, out, out_size);
  if (sent == -2) return 0;
  size_t done = sent < 0 ? 0 : (size_t)sent;
  if (done < out_size) {
    c->unsent_size = out_size - done;
    if (!(c->unsent = malloc(c->unsent_size))) die("malloc");
    memcpy(c->unsent, out + done, c->unsent_size);
    c->blocked = 1;
    watch(fd, EPOLLOUT, EPOLL_CTL_MOD);
  }
  out_size = 0;
  return 1;
}

static int writable(int fd) {
  client *c = &clients[fd];
  ssize_t sent = give(fd, NULL, c->unsent, c->unsent_size);
  if (sent == -2) return 0;
  if (sent > 0) {
    c->unsent_size -= (size_t)sent;
    memmove(c->unsent, c->unsent + sent, c->unsent_size);
  }
  if (!c->unsent_size) {
    free(c->unsent);
    c->unsent = NULL;
    c->blocked = 0;
    watch(fd, EPOLLIN, EPOLL_CTL_MOD);
  }
  return 1;
}

static void put(int first, const unsigned char *payload, size_t size) {
  unsigned char *to = out + out_size;
  if (size < 65536) {
    out_size += write_head(to, first, size, NULL);
  } else {
    to[0] = (unsigned char)first;
    to[1] = 127;
    for (int i = 0; i < 8; i++) to[2 + i] = (unsigned char)((uint64_t)size >> (56 - 8 * i));
    out_size += 10;
  }
  memcpy(out + out_size, payload, size);
  out_size += size;
}

static void put_held(client *c) {
  put(0x81, c->held, c->held_size);
  free(c->held);
  c->held = NULL;
  held_now--;
}

static void answer(client *c, int first, unsigned char *payload, size_t size) {
  messages++;
  if (c->held) {  // this one first, and whole
    put(first, payload, size);
    put_held(c);
    swapped++;
    return;
  }
  double die_ = lose + twice + swap + corrupt > 0 ? chance() : 1;
  if ((die_ -= lose) < 0) {
    lost++;
  } else if ((die_ -= twice) < 0) {
    put(first, payload, size);
    put(first, payload, size);
    doubled++;
  } else if ((die_ -= swap) < 0) {
    if (!(c->held = malloc(size + 1))) die("malloc");
    memcpy(c->held, payload, size);
    c->held_size = size;
    held_now++;
  } else {
    if ((die_ -= corrupt) < 0 && size) {
      payload[(size_t)(chance() * (double)size)] ^= 1;
      corrupted++;
    }
    put(first, payload, size);
  }
}

static int open_connection(int fd, char *head) {
  static const char name[] = "\r\nsec-websocket-key:", guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  char *key = head, joined[128], accept[32], text[256];
  unsigned char digest[20];
  for (; *key && strncasecmp(key, name, sizeof name - 1); key++) {}
  if (!*key) return 0;
  key += sizeof name - 1;
  while (*key == ' ') key++;
  size_t size = strcspn(key, "\r\n ");
  if (size > 40) return 0;
  memcpy(joined, key, size);
  memcpy(joined + size, guid, sizeof guid - 1);
  sha1((unsigned char *)joined, size + sizeof guid - 1, digest);
  base64(digest, 20, accept);
  int n = snprintf(text, sizeof text,
                   "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                   "Sec-WebSocket-Accept: %s\r\n\r\n", accept);
  clients[fd].open = 1;
  return give(fd, NULL, text, (size_t)n) == n;
}

// Take whole frames from the front of `b`; returns the bytes used, or -1 if the connection is over.
static ssize_t feed(int fd, unsigned char *b, size_t n) {
  client *c = &clients[fd];
  size_t used = 0;
  frame f;
  while (read_head(b + used, n - used, &f) && n - used >= f.head + f.length) {
    unsigned char *payload = b + used + f.head;
    uint32_t mask;
    memcpy(&mask, f.mask, 4);
    size_t i = 0;
    for (; i + 4 <= f.length; i += 4) {
      uint32_t word;
      memcpy(&word, payload + i, 4);
      word ^= mask;
      memcpy(payload + i, &word, 4);
    }
    for (; i < f.length; i++) payload[i] ^= f.mask[i & 3];
    used += f.head + f.length;
    if (f.opcode == 8) {
      put(0x88, payload, f.length);
      flush(fd);
      return -1;
    }
    if (f.opcode == 9) put(0x8A, payload, f.length);
    if (f.opcode < 3) answer(c, b[used - f.length - f.head], payload, f.length);
  }
  return (ssize_t)used;
}

static int readable(int fd) {
  client *c = &clients[fd];
  if (c->rest_size) memcpy(in, c->rest, c->rest_size);
  ssize_t got = take(fd, NULL, in + c->rest_size, BUFFER - 1);
  if (got == -1) return 1;
  if (got <= 0) return 0;
  size_t n = c->rest_size + (size_t)got, used = 0;
  free(c->rest);
  c->rest = NULL;
  c->rest_size = 0;
  if (!c->open) {
    in[n] = 0;
    char *blank = strstr((char *)in, "\r\n\r\n");
    if (blank) {
      used = (size_t)(blank + 4 - (char *)in);
      if (!open_connection(fd, (char *)in)) return 0;
    }
  }
  if (c->open) {
    ssize_t taken = feed(fd, in + used, n - used);
    if (taken < 0) return 0;
    used += (size_t)taken;
  }
  if (used < n) {
    c->rest_size = n - used;
    if (c->rest_size > BUFFER || !(c->rest = malloc(c->rest_size))) die("a frame is too long");
    memcpy(c->rest, in + used, c->rest_size);
  }
  return !out_size || flush(fd);
}

int main(int argc, char **argv) {
  int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)number_arg(argc, argv, "port", 0))};
  socklen_t size = sizeof address;
  lose = number_arg(argc, argv, "lose", 0);
  twice = number_arg(argc, argv, "double", 0);
  swap = number_arg(argc, argv, "swap", 0);
  corrupt = number_arg(argc, argv, "corrupt", 0);
  state = 0x9E3779B97F4A7C15u ^ (uint64_t)number_arg(argc, argv, "seed", 1) << 17;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096)) die("listen");
  getsockname(listener, (struct sockaddr *)&address, &size);
  poll_fd = epoll_create1(0);
  watch(listener, EPOLLIN, EPOLL_CTL_ADD);
  signal(SIGTERM, end);
  signal(SIGINT, end);
  signal(SIGUSR1, ask);
  signal(SIGPIPE, SIG_IGN);
  printf("ready %d\n", ntohs(address.sin_port));
  fflush(stdout);
  while (!ended) {
    struct epoll_event events[512];
    int n = epoll_wait(poll_fd, events, 512, held_now ? 50 : 200);
    if (asked) {
      asked = 0;
      tell();
    }
    if (n == 0)
      for (int fd = 0; fd <= top; fd++)
        if (clients[fd].held && !clients[fd].blocked) {
          put_held(&clients[fd]);
          if (!flush(fd)) drop(fd);
        }
    for (int i = 0; i < n; i++) {
      int fd = events[i].data.fd;
      if (fd == listener) {
        for (int new; (new = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0;) {
          if (new >= MAX_FDS) die("too many connections");
          setsockopt(new, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
          watch(new, EPOLLIN, EPOLL_CTL_ADD);
          if (new > top) top = new;
        }
      } else if (events[i].events & EPOLLOUT ? !writable(fd) : !readable(fd)) {
        drop(fd);
        out_size = 0;
      }
    }
  }
  tell();
  return 0;
}
