// What the load client and the floor have in common: time, arguments, and bytes over TCP or TLS.
#ifndef COMMON_H
#define COMMON_H
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#ifdef WITH_TLS
#include <openssl/ssl.h>
#else
typedef void SSL;
#endif

#define TLS_CIPHER "TLS_AES_128_GCM_SHA256"  // one for all servers, so that the same work is compared

static inline uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void die(const char *what) {
  if (errno) perror(what); else fprintf(stderr, "%s\n", what);
  exit(1);
}

// Arguments are name=value, in any order.
static const char *text_arg(int argc, char **argv, const char *name, const char *otherwise) {
  size_t n = strlen(name);
  for (int i = 1; i < argc; i++)
    if (!strncmp(argv[i], name, n) && argv[i][n] == '=') return argv[i] + n + 1;
  return otherwise;
}

static double number_arg(int argc, char **argv, const char *name, double otherwise) {
  const char *text = text_arg(argc, argv, name, NULL);
  return text ? atof(text) : otherwise;
}

// Bytes read (0: the peer ended), -1 for "nothing now", -2 for an error.
static ssize_t take(int fd, SSL *ssl, void *to, size_t size) {
#ifdef WITH_TLS
  if (ssl) {
    int n = SSL_read(ssl, to, (int)size);
    if (n > 0) return n;
    int why = SSL_get_error(ssl, n);
    if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) return -1;
    return why == SSL_ERROR_ZERO_RETURN ? 0 : -2;
  }
#else
  (void)ssl;
#endif
  ssize_t n = recv(fd, to, size, MSG_DONTWAIT);
  if (n >= 0) return n;
  return errno == EAGAIN || errno == EINTR ? -1 : -2;
}

// Bytes written, -1 for "not now", -2 for an error.
static ssize_t give(int fd, SSL *ssl, const void *from, size_t size) {
#ifdef WITH_TLS
  if (ssl) {
    int n = SSL_write(ssl, from, (int)size);
    if (n > 0) return n;
    int why = SSL_get_error(ssl, n);
    return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? -1 : -2;
  }
#else
  (void)ssl;
#endif
  ssize_t n = send(fd, from, size, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (n >= 0) return n;
  return errno == EAGAIN || errno == EINTR ? -1 : -2;
}

// One frame's head (RFC 6455 section 5.2) and where it ends.
typedef struct {
  int opcode, rsv1, masked;
  unsigned char mask[4];
  uint64_t length;  // of the payload
  size_t head;      // bytes before the payload
} frame;

static int read_head(const unsigned char *b, size_t n, frame *f) {
  if (n < 2) return 0;
  f->opcode = b[0] & 15;
  f->rsv1 = (b[0] & 0x40) != 0;
  f->masked = b[1] >> 7;
  f->length = b[1] & 127;
  size_t wide = f->length < 126 ? 0 : f->length == 126 ? 2 : 8;
  f->head = 2 + wide + (f->masked ? 4 : 0);
  if (n < f->head) return 0;
  if (wide) {
    f->length = 0;
    for (size_t i = 0; i < wide; i++) f->length = f->length << 8 | b[2 + i];
  }
  if (f->masked) memcpy(f->mask, b + 2 + wide, 4);
  return 1;
}

static size_t write_head(unsigned char *to, int first, size_t length, const unsigned char *mask) {
  size_t n = 2;
  to[0] = (unsigned char)first;
  if (length < 126) {
    to[1] = (unsigned char)length;
  } else {
    to[1] = 126;
    to[2] = (unsigned char)(length >> 8);
    to[3] = (unsigned char)length;
    n = 4;
  }
  if (mask) {
    to[1] |= 0x80;
    memcpy(to + n, mask, 4);
    n += 4;
  }
  return n;
}
#endif
