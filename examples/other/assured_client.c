/* Delivers each line of a file exactly once, by the protocol of docs/protocol.md, in C and nothing else.
 *
 *     cc -o assured_client assured_client.c
 *     ./assured_client HOST PORT SESSION < FILE
 *
 * The file is what must not be lost; the session (16 to 64 of 0-9 and a-z, one for each file) says which it is. Lines may be appended at any time; one
 * counts once its newline is there, and may have 65535 bytes. After a crash of anything run it again: the server says how far it is. */
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *server;
    if (argc != 4 || getaddrinfo(argv[1], argv[2], &hints, &server)) return fputs("usage: HOST PORT SESSION\n", stderr), 2;
    int fd = socket(server->ai_family, server->ai_socktype, 0);
    if (connect(fd, server->ai_addr, server->ai_addrlen)) return perror("connect"), 3;
    FILE *in = fdopen(fd, "r"), *out = fdopen(dup(fd), "w");
    unsigned long long number = 0, acknowledged;
    char line[65537], answer[1100] = "nothing\n";
    /* There may be more lines than anybody has counted: so the next number is the highest there is. */
    fprintf(out, "WILCO/1 OPEN sid=%s first=1 next=9223372036854775807 ack=store\n", argv[3]);
    if (fflush(out) || !fgets(answer, sizeof answer, in) || sscanf(answer, "WILCO/1 OK acked=%llu", &acknowledged) != 1)
        return fprintf(stderr, "the server says: %s", answer), 5;
    while (fgets(line, sizeof line, stdin) && strchr(line, '\n')) {
        if (++number <= acknowledged) continue; /* The server has it since the last time. */
        line[strcspn(line, "\n")] = 0;
        fprintf(out, "M %llu %zu\n%s\n", number, strlen(line), line);
        if (fflush(out)) return perror("send"), 4;
        do {
            if (!fgets(answer, sizeof answer, in)) return fputs("the connection was lost: run it again\n", stderr), 4;
            if (strchr("ENR", *answer)) fprintf(stderr, "the server says: %s", answer);
            if (strchr("ER", *answer)) return 4; /* Refused for good (N) is this line alone. */
        } while (sscanf(answer, "A %llu", &acknowledged) != 1 || acknowledged < number);
    }
    if (!feof(stdin)) return fprintf(stderr, "line %llu is too long\n", number + 1), 1;
    printf("%llu lines are stored\n", number);
    return 0;
}
