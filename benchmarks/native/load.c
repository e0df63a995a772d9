// load: the cheapest WebSocket clients that there are, so that the server is what is measured. One process, one
// thread: subscribers that count, check and time what comes, and one publisher that sends on schedule.
//
//   cc -O2 -o load load.c        (-DWITH_TLS -lssl -lcrypto)
//   load mode=fanout port=9001 clients=1000 rate=100 seconds=5 pids=123,124
//
// mode=fanout   `rate` times a second a publisher sends `burst` messages of `payload` bytes (as delivered) in one
//               write; `clients` subscribers get them. dead=N more subscribe and never read. storm=N more
//               connect, all at once, in the middle of the measured time. phase=0 or 1 publishes in every other
//               second alone, so that two runs can share a machine by turns; the median of the 99th percentiles
//               of single seconds is told as well (second_p99_us): one bad second does not make the figure.
// mode=echo     `clients` connections send, wait for the answer, and send again.
// mode=connect  `clients` connections are opened, `inflight` at a time.
// mode=idle     `clients` connections are opened and kept until standard input ends.
//
// Prints one JSON object; "lost" is what has not come 2 s after the last was sent. Latency is from the publisher's write to the subscriber's read, by one clock. CPU is
// what all threads of the processes `pids` used (/proc/PID/task/*/schedstat, nanoseconds); the same file tells how
// long they, and we, waited for a core that others had: what disturbs a measurement.
#include "common.h"
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>

enum { CONNECTING, SECURING, HEAD, OPEN, GONE };
enum { SUBSCRIBER, PUBLISHER, ECHO, DEAD, STORM };
#define BUFFER (1 << 18)
#define MAX_MESSAGES 4000000

typedef struct {
  int fd, state, role;
  SSL *ssl;
  unsigned char *rest;
  size_t rest_size;
  uint64_t sent;
} client;

// Log-linear histogram: 128 steps per power of two, so within 0.8 %.
typedef struct { uint32_t count[64 * 128]; uint64_t total, most; } histogram;

static void record(histogram *h, uint64_t ns) {
  int shift = ns < 256 ? 0 : 63 - __builtin_clzll(ns) - 7;
  h->count[(size_t)shift * 128 + (ns >> shift)]++;
  h->total++;
  if (ns > h->most) h->most = ns;
}

static double quantile_us(const histogram *h, double q) {
  uint64_t rank = (uint64_t)(q * (double)h->total), seen = 0;
  if (rank >= h->total) return (double)h->most / 1e3;
  for (size_t i = 0; i < 64 * 128; i++) {
    seen += h->count[i];
    if (seen > rank) {
      size_t shift = i < 256 ? 0 : i / 128 - 1;
      return (double)((uint64_t)(i - shift * 128) << shift) / 1e3;
    }
  }
  return (double)h->most / 1e3;
}

static void print_histogram(const char *name, const histogram *h) {
  if (!h->total) return;
  printf(", \"%s_p50_us\": %.1f, \"%s_p99_us\": %.1f, \"%s_max_us\": %.1f", name, quantile_us(h, 0.5), name,
         quantile_us(h, 0.99), name, (double)h->most / 1e3);
}

static const char *pids, *paths[5];
static int port, poll_fd, tls_on, deflate_on, inflight_limit, payload;
static client *all;
static int made, opened, opening, refused, closed, live_subscribers, role_opened[5];
static uint64_t deliveries, delivered_bytes, echoes, compressed, last_length;
static histogram latency, last_of_all, during_storm, round_trip, this_second;
#define MAX_SECONDS 600
static double second_p99[MAX_SECONDS];
static int seconds_seen;
static uint64_t second_under_way;
static uint32_t *arrived;  // per message: how many subscribers have it
static uint64_t published, first_timed = UINT64_MAX, end_timed;
static uint64_t storm_began, storm_ended;
static int pad, measuring;
static unsigned char buffer[BUFFER * 2];
#ifdef WITH_TLS
static SSL_CTX *tls;
#endif

static void end_second(void) {
  if (this_second.total && seconds_seen < MAX_SECONDS) second_p99[seconds_seen++] = quantile_us(&this_second, 0.99);
  memset(&this_second, 0, sizeof this_second);
}

// By the second in which it was sent.
static void record_second(uint64_t sent, uint64_t took) {
  if (sent / 1000000000 > second_under_way) {
    end_second();
    second_under_way = sent / 1000000000;
  }
  if (sent / 1000000000 == second_under_way) record(&this_second, took);
}

static int by_size(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static void print_seconds(void) {
  end_second();
  if (!seconds_seen) return;
  qsort(second_p99, (size_t)seconds_seen, sizeof *second_p99, by_size);
  printf(", \"second_p99_us\": %.1f, \"seconds_seen\": %d", second_p99[seconds_seen / 2], seconds_seen);
}

// Seconds that a process ran, and seconds that it was ready to run and had to wait for its core.
typedef struct { double ran, waited; } usage;

static void add_usage(const char *path, usage *sum) {
  FILE *f = fopen(path, "r");
  unsigned long long ran = 0, waited = 0;
  if (f && fscanf(f, "%llu %llu", &ran, &waited) == 2) {
    sum->ran += (double)ran / 1e9;
    sum->waited += (double)waited / 1e9;
  }
  if (f) fclose(f);
}

static usage usage_of_server(void) {
  usage sum = {0, 0};
  char list[1024];
  snprintf(list, sizeof list, "%s", pids);
  for (char *save, *pid = strtok_r(list, ",", &save); pid; pid = strtok_r(NULL, ",", &save)) {
    char path[512];
    snprintf(path, sizeof path, "/proc/%s/task", pid);
    DIR *tasks = opendir(path);
    if (!tasks) continue;
    for (struct dirent *task; (task = readdir(tasks));) {
      if (task->d_name[0] == '.') continue;
      snprintf(path, sizeof path, "/proc/%s/task/%s/schedstat", pid, task->d_name);
      add_usage(path, &sum);
    }
    closedir(tasks);
  }
  return sum;
}

static usage server_before, self_before;
static uint64_t window_began;

static void open_window(void) {
  server_before = usage_of_server();
  self_before = (usage){0, 0};
  add_usage("/proc/self/schedstat", &self_before);
  window_began = now_ns();
}

// Ends the window: what the server used, and how long it lasted. Prints the rest.
static double close_window(double *wall) {
  *wall = (double)(now_ns() - window_began) / 1e9;
  usage server = usage_of_server(), self = {0, 0};
  add_usage("/proc/self/schedstat", &self);
  printf("{\"server_busy\": %.4f, \"server_waited\": %.4f, \"client_busy\": %.4f, \"client_waited\": %.4f",
         (server.ran - server_before.ran) / *wall, (server.waited - server_before.waited) / *wall,
         (self.ran - self_before.ran) / *wall, (self.waited - self_before.waited) / *wall);
  return server.ran - server_before.ran;
}

static void lose(client *c, int because_refused) {
  if (c->state < OPEN) opening--;
  if (because_refused) refused++; else closed++;
  if (c->state == OPEN && c->role == SUBSCRIBER) live_subscribers--;
  c->state = GONE;
#ifdef WITH_TLS
  if (c->ssl) SSL_free(c->ssl);
  c->ssl = NULL;
#endif
  close(c->fd);
}

static void watch(client *c, uint32_t events, int how) {
  struct epoll_event e = {.events = events, .data.ptr = c};
  epoll_ctl(poll_fd, how, c->fd, &e);
}

static void start(int role) {
  client *c = &all[made++];
  int one = 1, small = 4096, segment = 536;
  struct linger at_once = {1, 0};  // no TIME_WAIT: the next run needs the ports
  c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (c->fd < 0) die("socket");
  c->role = role;
  c->state = CONNECTING;
  c->sent = now_ns();
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  if (role == DEAD) {
    // Small segments keep the server's send buffer small too (the kernel sizes it in segments): with the loopback's
    // own, megabytes would vanish in it, and no server would notice in a minute that nobody reads.
    setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    setsockopt(c->fd, IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof segment);
  }
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (made > 20000) {  // more connections than one address has ports
    struct sockaddr_in from = {.sin_family = AF_INET};
    from.sin_addr.s_addr = htonl((uint32_t)(INADDR_LOOPBACK + 1 + made / 20000));
    if (bind(c->fd, (void *)&from, sizeof from)) die("bind");
  }
  opening++;
  if (connect(c->fd, (void *)&a, sizeof a) && errno != EINPROGRESS) die("connect");
  watch(c, EPOLLOUT, EPOLL_CTL_ADD);
}

static void say_hello(client *c) {
  char request[1024];
  int n = snprintf(request, sizeof request,
                   "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                   "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s\r\n",
                   paths[c->role], port,
                   deflate_on ? "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; "
                                "client_no_context_takeover\r\n"
                              : "");
  c->state = HEAD;
  watch(c, EPOLLIN, EPOLL_CTL_MOD);
  if (give(c->fd, c->ssl, request, (size_t)n) != n) lose(c, 1);
}

static void send_frame(client *c, const char *message, size_t size) {
  static const unsigned char mask[4] = {0x37, 0xfa, 0x21, 0x3d};
  unsigned char frame[4096];
  size_t head = write_head(frame, 0x81, size, mask);
  for (size_t i = 0; i < size; i++) frame[head + i] = (unsigned char)message[i] ^ mask[i & 3];
  if (give(c->fd, c->ssl, frame, head + size) < 0) lose(c, 0);
}

// A price as one would publish it; "m" is the message's number and when it was sent.
static size_t write_message(char *to, const char *type, uint64_t number, int padding) {
  int n = sprintf(to,
                  "{\"type\":\"%s\",\"timestamp\":\"2026-01-01T00:00:00.000000Z\",\"m\":\"%010llu.%019llu\","
                  "\"price\":%.2f,\"bid\":%.2f,\"pad\":\"",
                  type, (unsigned long long)number, (unsigned long long)now_ns(), 61800 + (double)(number % 997) / 100,
                  61799 + (double)(number % 991) / 100);
  // Text like that of market data: words that repeat, digits that do not.
  static const char words[] = "venue coinbase price #####.## age_ms ##, venue kraken price #####.## age_ms ###; ";
  uint32_t noise = (uint32_t)number * 2654435761u + 1;
  for (int i = 0; i < padding; i++) {
    char letter = words[i % (int)(sizeof words - 1)];
    if (letter == '#') {
      noise = noise * 1664525 + 1013904223;
      letter = (char)('0' + (noise >> 24) % 10);
    }
    to[n++] = letter;
  }
  return (size_t)(n + sprintf(to + n, "\"}"));
}

static void publish(client *c, int count) {
  static const unsigned char mask[4] = {0x37, 0xfa, 0x21, 0x3d};
  static unsigned char joined[BUFFER];
  size_t size = 0;
  for (int i = 0; i < count; i++) {
    char message[4096];
    if (published >= MAX_MESSAGES) die("too many messages for one run");
    size_t n = write_message(message, "broadcast", published++, pad);
    size += write_head(joined + size, 0x81, n, mask);
    for (size_t k = 0; k < n; k++) joined[size + k] = (unsigned char)message[k] ^ mask[k & 3];
    size += n;
  }
  if (give(c->fd, c->ssl, joined, size) != (ssize_t)size) die("the publisher's socket is full: the server does not read");
}

static void echo(client *c) {
  char message[4096];
  size_t n = write_message(message, "test", 0, pad);
  c->sent = now_ns();
  send_frame(c, message, n);
}

static void message_came(client *c, const frame *f, const unsigned char *text, uint64_t now) {
  last_length = f->length;
  if (c->role == ECHO) {
    echoes++;
    if (measuring) record(&round_trip, now - c->sent);
    echo(c);
    return;
  }
  if (c->role != SUBSCRIBER) return;
  deliveries++;
  delivered_bytes += f->head + f->length;
  if (f->rsv1) {
    compressed++;
    return;
  }
  const unsigned char *m = memmem(text, f->length, "\"m\":\"", 5);
  if (!m || m + 35 > text + f->length) return;
  uint64_t number = 0, sent = 0;
  for (int i = 5; i < 15; i++) number = number * 10 + (uint64_t)(m[i] - '0');
  for (int i = 16; i < 35; i++) sent = sent * 10 + (uint64_t)(m[i] - '0');
  if (number >= MAX_MESSAGES) return;
  uint32_t have = ++arrived[number];
  if (number < first_timed || number >= end_timed) return;
  record(storm_began && sent >= storm_began && (!storm_ended || sent < storm_ended) ? &during_storm : &latency, now - sent);
  record_second(sent, now - sent);
  if (have == (uint32_t)live_subscribers) record(&last_of_all, now - sent);
}

static size_t feed(client *c, const unsigned char *b, size_t n) {
  size_t used = 0;
  uint64_t now = now_ns();
  frame f;
  while (c->state == OPEN && read_head(b + used, n - used, &f) && n - used >= f.head + f.length) {
    const unsigned char *text = b + used + f.head;
    used += f.head + f.length;
    if (f.opcode == 8) {
      lose(c, 0);
    } else if (f.opcode == 9) {
      unsigned char pong[256] = {0x8A};
      size_t head = write_head(pong, 0x8A, f.length, (const unsigned char *)"\0\0\0\0");
      memcpy(pong + head, text, f.length);
      give(c->fd, c->ssl, pong, head + f.length);
    } else if (f.opcode < 3) {
      message_came(c, &f, text, now);
    }
  }
  return used;
}

static void head_came(client *c, unsigned char *b, size_t *n) {
  b[*n] = 0;
  char *end = strstr((char *)b, "\r\n\r\n");
  if (!end) return;
  if (strncmp((char *)b, "HTTP/1.1 101", 12)) {
    if (!refused) fprintf(stderr, "refused: %.60s\n", (char *)b);
    lose(c, 1);
    return;
  }
  size_t head = (size_t)(end + 4 - (char *)b);
  *n -= head;
  memmove(b, b + head, *n);
  c->state = OPEN;
  opening--;
  opened++;
  role_opened[c->role]++;
  if (c->role == SUBSCRIBER) live_subscribers++;
  if (c->role == DEAD) watch(c, 0, EPOLL_CTL_MOD);
}

static void readable(client *c) {
  do {
    size_t kept = c->rest_size;
    if (kept) memcpy(buffer, c->rest, kept);
    ssize_t got = take(c->fd, c->ssl, buffer + kept, BUFFER - 1);
    if (got == -1) return;
    if (got <= 0) {
      lose(c, c->state != OPEN);
      return;
    }
    size_t n = kept + (size_t)got;
    free(c->rest);
    c->rest = NULL;
    c->rest_size = 0;
    if (c->state == HEAD) head_came(c, buffer, &n);
    size_t used = c->state == OPEN ? feed(c, buffer, n) : 0;
    if (c->state == GONE) return;
    if (used < n) {
      c->rest_size = n - used;
      if (c->rest_size >= BUFFER || !(c->rest = malloc(c->rest_size))) die("a frame is too long");
      memcpy(c->rest, buffer + used, c->rest_size);
    }
  } while (c->ssl);
}

static void progress(client *c) {
  if (c->state == CONNECTING) {
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) {
      lose(c, 1);
      return;
    }
    if (!tls_on) {
      say_hello(c);
      return;
    }
#ifdef WITH_TLS
    c->ssl = SSL_new(tls);
    SSL_set_fd(c->ssl, c->fd);
    SSL_set_connect_state(c->ssl);
    c->state = SECURING;
    watch(c, EPOLLIN, EPOLL_CTL_MOD);
#endif
  }
#ifdef WITH_TLS
  if (c->state == SECURING) {
    int r = SSL_connect(c->ssl);
    if (r == 1)
      say_hello(c);
    else if (SSL_get_error(c->ssl, r) != SSL_ERROR_WANT_READ)
      lose(c, 1);
    return;
  }
#endif
  readable(c);
}

// Handle what is ready, waiting up to `ms` for it; true if the timer `timer` (or -1) has gone off.
static int turn(int ms, int timer) {
  struct epoll_event events[512];
  int n = epoll_wait(poll_fd, events, 512, ms), due = 0;
  for (int i = 0; i < n; i++) {
    client *c = events[i].data.ptr;
    if (!c) {
      uint64_t ticks;
      if (read(timer, &ticks, sizeof ticks) == sizeof ticks) due = (int)ticks;
    } else if (c->state != GONE) {
      progress(c);
    }
  }
  return due;
}

static void open_all(int role, int count) {
  int target = opened + refused + closed + count, begun = 0;
  uint64_t patience = now_ns() + 60000000000ull;
  while (opened + refused + closed < target) {
    while (begun < count && opening < inflight_limit) start(role), begun++;
    turn(10, -1);
    if (now_ns() > patience) die("connecting took more than 60 s");
  }
  if (refused) die("a connection was refused");
}

static void wait_ms(int ms) {
  for (uint64_t end = now_ns() + (uint64_t)ms * 1000000; now_ns() < end;) turn(1, -1);
}

// Make messages as long on the way out as asked for, whatever the server adds to them.
static void calibrate(client *publisher) {
  uint64_t before = deliveries;
  publish(publisher, 1);
  for (uint64_t end = now_ns() + 5000000000ull; deliveries < before + (uint64_t)live_subscribers;) {
    turn(10, -1);
    if (now_ns() > end) die("a published message did not reach all subscribers in 5 s");
  }
  pad = payload > (int)last_length && !compressed ? payload - (int)last_length : pad;
}

static int fanout(int argc, char **argv) {
  int clients = (int)number_arg(argc, argv, "clients", 1000), dead = (int)number_arg(argc, argv, "dead", 0);
  int burst = (int)number_arg(argc, argv, "burst", 1), storm = (int)number_arg(argc, argv, "storm", 0);
  double rate = number_arg(argc, argv, "rate", 100), seconds = number_arg(argc, argv, "seconds", 3);
  double warm = number_arg(argc, argv, "warm", 0.5), phase = number_arg(argc, argv, "phase", -1);
  // What compresses cannot be measured by its length: its padding is told.
  pad = (int)number_arg(argc, argv, "pad", 0);
  open_all(SUBSCRIBER, clients);
  if (dead) open_all(DEAD, dead);
  open_all(PUBLISHER, 1);
  client *publisher = &all[made - 1];
  wait_ms(100);
  calibrate(publisher);
  int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
  long step = (long)(1e9 / rate);
  struct itimerspec every = {{step / 1000000000, step % 1000000000}, {step / 1000000000, step % 1000000000}};
  timerfd_settime(timer, 0, &every, NULL);
  struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL};
  epoll_ctl(poll_fd, EPOLL_CTL_ADD, timer, &e);
  uint64_t began = 0, until = now_ns() + (uint64_t)(warm * 1e9), base_deliveries = 0, base_bytes = 0, missed = 0;
  uint64_t storm_at = 0, storm_left = (uint64_t)storm;
  int storm_target = 0;
  end_timed = UINT64_MAX;
  for (;;) {
    int due = turn(storm_began && storm_left ? 0 : 5, timer);
    uint64_t now = now_ns();
    if (!began && now >= until) {
      began = now;
      until = now + (uint64_t)(seconds * 1e9);
      storm_at = storm ? now + (uint64_t)(seconds * 0.4e9) : UINT64_MAX;
      first_timed = published;
      base_deliveries = deliveries;
      base_bytes = delivered_bytes;
      measuring = 1;
      open_window();
    }
    if (began && now >= until && (!storm || storm_ended)) break;
    if (began && storm && !storm_began && now >= storm_at) {
      storm_began = now;
      storm_target = role_opened[STORM] + storm;
    }
    // All at once, as far as one thread can: between two looks at those who listen.
    for (int i = 0; storm_began && storm_left && i < 50; i++, storm_left--) start(STORM);
    if (storm_began && !storm_ended && role_opened[STORM] + refused >= storm_target) storm_ended = now;
    if (storm_began && !storm_ended && now > storm_began + 30000000000ull) die("the storm lasted more than 30 s");
    if (phase >= 0 && (now / 1000000000) % 2 != (uint64_t)phase) continue;
    if (due) publish(publisher, burst);
    if (due > 1) missed += (uint64_t)due - 1;
  }
  double wall, used = close_window(&wall);
  uint64_t counted = deliveries - base_deliveries, bytes = delivered_bytes - base_bytes;
  end_timed = published;
  uint64_t expected = published * (uint64_t)live_subscribers;
  for (uint64_t patience = now_ns() + 2000000000ull; deliveries < expected && now_ns() < patience;) turn(10, -1);
  printf(", \"clients\": %d, \"deliveries\": %llu, \"per_s\": %.0f, \"bytes\": %.1f, \"compressed\": %.3f, \"cpu_us\": %.4f, "
         "\"skipped\": %llu, \"closed\": %d, \"refused\": %d, \"lost\": %lld, \"pad\": %d",
         live_subscribers, (unsigned long long)counted, (double)counted / wall, counted ? (double)bytes / (double)counted : 0,
         deliveries ? (double)compressed / (double)deliveries : 0, counted ? used * 1e6 / (double)counted : 0,
         (unsigned long long)missed, closed, refused, (long long)(expected - deliveries), pad);
  print_histogram("latency", &latency);
  print_histogram("last", &last_of_all);
  print_seconds();
  if (storm) {
    print_histogram("storm", &during_storm);
    printf(", \"storm_ms\": %.1f, \"storm_opened\": %d", (double)(storm_ended - storm_began) / 1e6, role_opened[STORM]);
  }
  printf("}\n");
  return 0;
}

static int echo_all(int argc, char **argv) {
  int clients = (int)number_arg(argc, argv, "clients", 50);
  double seconds = number_arg(argc, argv, "seconds", 3), warm = number_arg(argc, argv, "warm", 0.5);
  pad = (int)number_arg(argc, argv, "pad", 0);
  open_all(ECHO, clients);
  for (int i = 0; i < made; i++) echo(&all[i]);
  wait_ms((int)(warm * 1e3));
  measuring = 1;
  uint64_t before = echoes, until = now_ns() + (uint64_t)(seconds * 1e9);
  open_window();
  while (now_ns() < until) turn(5, -1);
  double wall, used = close_window(&wall);
  double count = (double)(echoes - before);
  printf(", \"clients\": %d, \"per_s\": %.0f, \"per_cpu_s\": %.0f, \"bytes\": %llu, \"closed\": %d", clients, count / wall,
         used > 0 ? count / used : 0, (unsigned long long)last_length, closed);
  print_histogram("round_trip", &round_trip);
  printf("}\n");
  return 0;
}

static int connect_all(int argc, char **argv, int keep) {
  int clients = (int)number_arg(argc, argv, "clients", 5000);
  open_window();
  open_all(STORM, clients);
  double wall, used = close_window(&wall);
  printf(", \"clients\": %d, \"per_s\": %.0f, \"per_cpu_s\": %.0f, \"cpu_us\": %.2f}\n", clients, clients / wall,
         used > 0 ? clients / used : 0, used * 1e6 / clients);
  fflush(stdout);
  if (keep) {
    fcntl(0, F_SETFL, fcntl(0, F_GETFL) | O_NONBLOCK);
    for (char end; read(0, &end, 1) != 0;) turn(100, -1);
  }
  return 0;
}

int main(int argc, char **argv) {
  const char *mode = text_arg(argc, argv, "mode", "fanout");
  port = (int)number_arg(argc, argv, "port", 0);
  payload = (int)number_arg(argc, argv, "payload", 250);
  deflate_on = (int)number_arg(argc, argv, "deflate", 0);
  tls_on = (int)number_arg(argc, argv, "tls", 0);
  inflight_limit = (int)number_arg(argc, argv, "inflight", 64);
  pids = text_arg(argc, argv, "pids", "");
  paths[SUBSCRIBER] = paths[DEAD] = text_arg(argc, argv, "subscribe", "/");
  paths[PUBLISHER] = text_arg(argc, argv, "publish", "/pub");
  paths[ECHO] = text_arg(argc, argv, "echo", "/echo");
  paths[STORM] = text_arg(argc, argv, "idle", "/idle");
  size_t most = (size_t)(number_arg(argc, argv, "clients", 5000) + number_arg(argc, argv, "dead", 0) +
                         number_arg(argc, argv, "storm", 0)) + 2;
  all = calloc(most, sizeof *all);
  arrived = calloc(MAX_MESSAGES, sizeof *arrived);
  poll_fd = epoll_create1(0);
  if (!all || !arrived || poll_fd < 0) die("out of memory");
#ifdef WITH_TLS
  if (tls_on) {
    tls = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_verify(tls, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_min_proto_version(tls, TLS1_3_VERSION);
    SSL_CTX_set_ciphersuites(tls, TLS_CIPHER);
    SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
  }
#else
  if (tls_on) die("made without OpenSSL");
#endif
  if (!strcmp(mode, "fanout")) return fanout(argc, argv);
  if (!strcmp(mode, "echo")) return echo_all(argc, argv);
  if (!strcmp(mode, "connect")) return connect_all(argc, argv, 0);
  if (!strcmp(mode, "idle")) return connect_all(argc, argv, 1);
  errno = 0;
  die("mode is fanout, echo, connect or idle");
}
