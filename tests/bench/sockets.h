// Loopback sockets for the raw subjects and the load generators. A failure ends
// the program with its reason.
#ifndef BRAID_TESTS_BENCH_SOCKETS_H_
#define BRAID_TESTS_BENCH_SOCKETS_H_

#include <netinet/in.h>
#include <sys/socket.h>

namespace braid::bench {

sockaddr_in Loopback(int port);

// `type` as for socket(2). Port 0: any free one. A SOCK_STREAM socket listens.
int BindLoopback(int type, int port);
int ConnectLoopback(int type, int port);

int LocalPort(int fd);
void SetNoDelay(int fd);

}  // namespace braid::bench

#endif  // BRAID_TESTS_BENCH_SOCKETS_H_
