/* How many messages a second NATS JetStream acknowledges: publishes into a stream without waiting, at most WINDOW unacknowledged.

     jetstream HOST PORT SUBJECT SIZE SECONDS

   The stream, and the subject that it keeps, are there already. It prints one number: messages acknowledged a second. */
#define _GNU_SOURCE
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { WINDOW = 8192, AT_ONCE = 512, BUFFER = 1 << 20 };

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

/* Every acknowledgement is one message to the inbox, and has one line that begins with MSG. */
static long acknowledgements(const char *bytes, size_t size)
{
    long count = 0;

    for (const char *at = bytes; (at = memmem(at, (size_t)(bytes + size - at), "MSG _INBOX.", 11)) != NULL; at += 11)
        count++;
    return count;
}

int main(int argc, char *argv[])
{
    static char output[BUFFER], input[BUFFER + 16];
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *server;
    long sent = 0, acknowledged = 0, size;
    size_t kept = 0, queued = 0, written = 0;
    double start, seconds;
    int fd, one = 1;

    if (argc != 6 || getaddrinfo(argv[1], argv[2], &hints, &server) != 0)
        return fprintf(stderr, "usage: jetstream HOST PORT SUBJECT SIZE SECONDS\n"), 2;
    size = atol(argv[4]);
    seconds = atof(argv[5]);
    fd = socket(server->ai_family, server->ai_socktype, 0);
    if (fd < 0 || connect(fd, server->ai_addr, server->ai_addrlen) < 0)
        fail("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    queued = (size_t)sprintf(output, "CONNECT {\"verbose\":false}\r\nSUB _INBOX.x 1\r\n");
    start = now();
    while (now() - start < seconds || acknowledged < sent) {
        struct pollfd ready = { .fd = fd, .events = POLLIN };

        if (queued == written) {
            queued = written = 0;
            for (int at = 0; at < AT_ONCE && sent - acknowledged < WINDOW && now() - start < seconds; at++, sent++) {
                queued += (size_t)sprintf(output + queued, "PUB %s _INBOX.x %ld\r\n", argv[3], size);
                memset(output + queued, 'x', (size_t)size);
                memcpy(output + queued + size, "\r\n", 2);
                queued += (size_t)size + 2;
                if (queued > BUFFER - 2 * (size_t)size - 256)
                    break;
            }
        }
        if (queued > written)
            ready.events |= POLLOUT;
        if (poll(&ready, 1, 1000) < 0)
            fail("poll");
        if (ready.revents & POLLOUT) {
            ssize_t done = send(fd, output + written, queued - written, MSG_DONTWAIT | MSG_NOSIGNAL);

            written += done > 0 ? (size_t)done : 0;
        }
        if (ready.revents & POLLIN) {
            ssize_t done = recv(fd, input + kept, BUFFER - kept, MSG_DONTWAIT);
            size_t all;

            if (done == 0)
                return fprintf(stderr, "the server has closed the connection\n"), 1;
            if (done < 0)
                continue;
            all = kept + (size_t)done;
            acknowledged += acknowledgements(input, all);
            /* A line that is cut is looked at again, without what was counted. */
            kept = all < 10 ? all : 10;
            memmove(input, input + all - kept, kept);
        }
    }
    printf("%.0f\n", (double)acknowledged / (now() - start));
    return 0;
}
