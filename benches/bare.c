/* The bare server that others are measured against: epoll, no framing but the newline, no limits, no allocation, one
   write for each read. As small and as fast as an honest server by hand gets, and of no other use.

     bare [-a TEXT] [-e | -f FILE | -s | -u] [-x PATH] [PORT]

   It finds every line and answers TEXT and a newline to each (`ok` unless told otherwise); with -e it sends back what it
   reads, with -f it appends what it reads to a file, and answers all that came at once after one fdatasync, with -s it reads and says nothing, with -u it sends UDP datagrams back. -x listens at a path of the Unix domain.
   It says on standard error where it listens; port 0, which it takes without one, is a free port. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { READ = 64 * 1024, EVENTS = 256, DATAGRAMS = 32, DATAGRAM = 2048 };

enum mode { LINES, ECHO, SINK };

static char input[READ];

/* The answer so many times over that it is enough for the most lines of one read. */
static char *answers;
static size_t answer_size;

/* What could not be written yet, in bytes, for each descriptor: only of LINES, where what is owed is known by its length.
   As long as something is owed nothing is read. */
static size_t *owed;

static int queue;

/* The file that what is read is appended to, or -1; and what is to be answered once that is on disk: to whom, and how much. */
static int file = -1;
static struct { int fd; size_t size; } unsynced[EVENTS];
static int unsynced_count;

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void prepare(const char *text)
{
    answer_size = strlen(text) + 1;
    answers = malloc(READ * answer_size);
    if (answers == NULL)
        fail("malloc");
    for (size_t at = 0; at < READ * answer_size; at += answer_size) {
        memcpy(answers + at, text, answer_size - 1);
        answers[at + answer_size - 1] = '\n';
    }
}

static void watch(int operation, int fd, unsigned events)
{
    struct epoll_event event = { .events = events, .data.fd = fd };

    if (epoll_ctl(queue, operation, fd, &event) < 0)
        fail("epoll_ctl");
}

static void accept_all(int listener, int is_tcp)
{
    for (;;) {
        int one = 1, fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd < 0)
            return;
        if (is_tcp)
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        owed[fd] = 0;
        watch(EPOLL_CTL_ADD, fd, EPOLLIN);
    }
}

/* Sends `size` bytes of answers, the last of which is a newline; what there is no room for is owed. */
static int answer(int fd, size_t size)
{
    size_t had = owed[fd], skip = (answer_size - size % answer_size) % answer_size;
    ssize_t sent = size == 0 ? 0 : send(fd, answers + skip, size, MSG_NOSIGNAL);

    if (sent < 0 && errno != EAGAIN)
        return -1;
    owed[fd] = size - (sent < 0 ? 0 : (size_t)sent);
    if ((had > 0) != (owed[fd] > 0))
        watch(EPOLL_CTL_MOD, fd, owed[fd] > 0 ? EPOLLOUT : EPOLLIN);
    return 0;
}

/* Sends back what was read. A peer that does not read meanwhile is waited for, and everybody else with it: an echo is for
   one peer at a time that floods it. */
static int serve_echo(int fd)
{
    ssize_t size = recv(fd, input, READ, 0);

    if (size <= 0)
        return size < 0 && errno == EAGAIN ? 0 : -1;
    for (ssize_t at = 0; at < size;) {
        struct pollfd writable = { .fd = fd, .events = POLLOUT };
        ssize_t sent = send(fd, input + at, (size_t)(size - at), MSG_NOSIGNAL);

        if (sent < 0 && errno != EAGAIN)
            return -1;
        if (sent < 0)
            poll(&writable, 1, -1);
        else
            at += sent;
    }
    return 0;
}

static int serve(int fd, enum mode mode)
{
    ssize_t size;
    size_t lines = 0;

    if (mode == ECHO)
        return serve_echo(fd);
    if (owed[fd] > 0)
        return answer(fd, owed[fd]);
    size = recv(fd, input, READ, 0);
    if (size <= 0)
        return size < 0 && errno == EAGAIN ? 0 : -1;
    if (mode == SINK)
        return 0;
    for (char *at = input, *end = input + size; (at = memchr(at, '\n', (size_t)(end - at))) != NULL; at++)
        lines++;
    if (file < 0)
        return answer(fd, lines * answer_size);
    if (write(file, input, (size_t)size) != size)
        fail("append");
    unsynced[unsynced_count].fd = fd;
    unsynced[unsynced_count++].size = lines * answer_size;
    return 0;
}

/* Syncs what was appended, and answers it. Who has gone meanwhile is noticed when it is read next. */
static void sync_and_answer(void)
{
    if (unsynced_count > 0 && fdatasync(file) < 0)
        fail("fdatasync");
    for (int at = 0; at < unsynced_count; at++)
        answer(unsynced[at].fd, unsynced[at].size);
    unsynced_count = 0;
}

static void serve_streams(int listener, enum mode mode, int is_tcp)
{
    struct epoll_event events[EVENTS];
    struct rlimit files;

    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    owed = calloc(files.rlim_cur, sizeof *owed);
    queue = epoll_create1(EPOLL_CLOEXEC);
    if (owed == NULL || queue < 0)
        fail("prepare");
    watch(EPOLL_CTL_ADD, listener, EPOLLIN);
    for (;;) {
        int count = epoll_wait(queue, events, EVENTS, -1);

        for (int at = 0; at < count; at++) {
            int fd = events[at].data.fd;

            if (fd == listener)
                accept_all(listener, is_tcp);
            else if (serve(fd, mode) < 0)
                close(fd);
        }
        sync_and_answer();
    }
}

static void serve_datagrams(int fd)
{
    static char buffers[DATAGRAMS][DATAGRAM];
    static struct sockaddr_storage peers[DATAGRAMS];
    struct mmsghdr packets[DATAGRAMS];
    struct iovec parts[DATAGRAMS];

    for (;;) {
        int count, done;

        for (int at = 0; at < DATAGRAMS; at++) {
            parts[at] = (struct iovec) { buffers[at], DATAGRAM };
            memset(&packets[at], 0, sizeof packets[at]);
            packets[at].msg_hdr = (struct msghdr) {
                .msg_name = &peers[at], .msg_namelen = sizeof peers[at], .msg_iov = &parts[at], .msg_iovlen = 1,
            };
        }
        count = recvmmsg(fd, packets, DATAGRAMS, MSG_WAITFORONE, NULL);
        for (int at = 0; at < count; at++)
            parts[at].iov_len = packets[at].msg_len;
        /* What cannot be sent is dropped, as datagrams are. */
        for (int at = 0; at < count; at += done > 0 ? done : 1)
            done = sendmmsg(fd, packets + at, (unsigned)(count - at), 0);
    }
}

static int listen_at(const char *path, int port, int type)
{
    struct sockaddr_in inet = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = INADDR_ANY };
    struct sockaddr_un local = { .sun_family = AF_UNIX };
    int one = 1, fd = socket(path ? AF_UNIX : AF_INET, type | SOCK_CLOEXEC, 0);
    socklen_t size = sizeof inet;

    if (fd < 0)
        fail("socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (path != NULL)
        strncpy(local.sun_path, path, sizeof local.sun_path - 1);
    if (bind(fd, path ? (struct sockaddr *)&local : (struct sockaddr *)&inet, path ? sizeof local : sizeof inet) < 0)
        fail("bind");
    if (type == (SOCK_STREAM | SOCK_NONBLOCK) && listen(fd, 4096) < 0)
        fail("listen");
    if (path != NULL) {
        fprintf(stderr, "listening on unix:%s\n", path);
    } else {
        getsockname(fd, (struct sockaddr *)&inet, &size);
        fprintf(stderr, "listening on %s:127.0.0.1:%d\n", type == SOCK_DGRAM ? "udp" : "tcp", ntohs(inet.sin_port));
    }
    return fd;
}

int main(int argc, char *argv[])
{
    enum mode mode = LINES;
    const char *text = "ok", *path = NULL;
    int option, port, datagrams = 0;

    while ((option = getopt(argc, argv, "a:ef:sux:")) != -1) {
        switch (option) {
        case 'a': text = optarg; break;
        case 'e': mode = ECHO; break;
        case 'f':
            file = open(optarg, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
            if (file < 0)
                fail(optarg);
            break;
        case 's': mode = SINK; break;
        case 'u': datagrams = 1; break;
        case 'x': path = optarg; break;
        default:
            fprintf(stderr, "usage: bare [-a TEXT] [-e | -f FILE | -s | -u] [-x PATH] [PORT]\n");
            return 2;
        }
    }
    port = optind < argc ? atoi(argv[optind]) : 0;
    if (datagrams)
        serve_datagrams(listen_at(NULL, port, SOCK_DGRAM));
    prepare(text);
    serve_streams(listen_at(path, port, SOCK_STREAM | SOCK_NONBLOCK), mode, path == NULL);
    return 0;
}
