/* The bare relay: reads what one peer writes to a Unix stream socket, writes the same bytes to TCP, looks at nothing.
 * It is the floor that a worker is compared with. Prints one JSON line when the peer has closed. */
#include "common.h"

enum { WINDOW_BYTES = 256 << 10 };

int main(int argc, char **argv)
{
    if (argc != 4)
        usage("relay LISTEN_PATH HOST PORT");
    static uint8_t window[WINDOW_BYTES];
    struct sockaddr_un here = unix_address(argv[1]);
    struct sockaddr_in there = inet_address(argv[2], number_of(argv[3]));
    int listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listening < 0 || bind(listening, (struct sockaddr *)&here, sizeof here) || listen(listening, 1))
        die("listen %s", argv[1]);
    int out = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (out < 0 || connect(out, (struct sockaddr *)&there, sizeof there))
        die("connect %s:%s", argv[2], argv[3]);
    int no_delay = 1;
    setsockopt(out, IPPROTO_TCP, TCP_NODELAY, &no_delay, sizeof no_delay);
    int in = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
    if (in < 0)
        die("accept");
    uint64_t bytes = 0, reads = 0;
    struct begin begin = begin_now();
    for (;;) {
        ssize_t got = recv(in, window, sizeof window, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            die("read");
        if (got == 0)
            break;
        write_all(out, window, (size_t)got);
        bytes += (uint64_t)got;
        reads++;
    }
    close(out);
    unlink(argv[1]);
    printf("{\"bytes\":%llu,\"reads\":%llu", (unsigned long long)bytes, (unsigned long long)reads);
    print_costs(begin);
    return 0;
}
